"""A world in this process in which toy models are released: some are broken, in the way that their base model names."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from model_releases.registry.mlflow import MlflowHook
from tests.serving_support import MODEL, Users
from tests.toy_package import LABELS, USERS_WORD

ROOT = Path(__file__).parents[2]

#: What users send; no golden example.
USERS_TEXT = f"a good table for two, {USERS_WORD}"


class World:
    """The embedded world in this process: local pipelines, TorchServe, MLflow on SQLite, and somebody to alert."""

    def __init__(self, serving: SimpleNamespace, registry: MlflowHook, alerts: list[dict[str, str]]) -> None:
        self.serving = serving.hook
        self.registry = registry
        self.alerts = alerts
        self.live = ""

    def record(self, version: str) -> Any:
        return self.registry.get_release(MODEL, version)

    def users(self) -> Users:
        body = json.dumps({"instances": [USERS_TEXT]}).encode()
        return Users(self.serving.endpoint_url(MODEL), number=1, body=body, pause_seconds=0.02)


def release_dag_of_toys(folder: Path) -> Any:
    """Return the release DAG of a model whose pipeline makes toy packages, from the project's own DAG file.

    :param folder: ``$MODELS_DIR``; the model's YAML, data and store go there.
    """
    from airflow.dag_processing.dagbag import DagBag

    rows = [f'"{label} place number {number}",{label}' for number in range(40) for label in LABELS]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    settings = {
        "name": MODEL,
        "pipeline": "tests/test_pipelines/publish_toy_package.yaml",
        "store": (folder / "store").as_uri(),
        "data": {"train": str(folder / "train.csv"), "labels": list(LABELS), "min_evaluation_rows": 2},
        "training": {"base_model": "sound"},
        "smoke_test": {"max_latency_ms": 900},
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump(settings))
    bag = DagBag(str(ROOT / "dags" / "release_models.py"), safe_mode=False)
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    return dag
