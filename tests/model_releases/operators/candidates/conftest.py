"""A step that collects what a run has left."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_releases.config import KubeflowModelConfig
from model_releases.memory.candidate import read_candidate
from model_releases.operators.candidates.collect import CollectCandidateOperator
from tests.connected import connect
from tests.model_releases.operators.candidates.collecting import Pipelines
from tests.own_models import BEFORE, MODEL, SETTINGS, VERSION


class Registry:
    """What is recorded of the live version."""

    def get_release(self, model: str, version: str) -> Any:
        assert (model, version) == (MODEL, BEFORE)
        return SimpleNamespace(facts={"metric.candidate.accuracy": "0.94", "metric.candidate.log_loss": "broken"})


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """Return the folder in which the run ``a-run`` has left its model."""
    folder = tmp_path / "artifacts" / "a-run" / "model"
    folder.mkdir(parents=True)
    (folder / "model.skops").write_bytes(b"a model")
    return folder


@pytest.fixture
def collect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return ``collect(outputs, **settings)``, which gives the candidate."""
    connect(monkeypatch, pipelines_default=Pipelines(tmp_path / "artifacts"), registry_default=Registry())

    def run(made: dict[str, Any], /, *, run_id: str = "a-run", live: str = "", **changes: Any) -> Any:
        config = KubeflowModelConfig.model_validate(SETTINGS | {"store": (tmp_path / "store").as_uri()} | changes)
        folder = f"{config.store_uri}/{VERSION}"
        task = CollectCandidateOperator(
            task_id="collect",
            model=MODEL,
            version=VERSION,
            candidate_uri=f"{folder}/candidate.json",
            folder_uri=folder,
            pipeline=config.pipeline_name,
            parameters=sorted(config.parameters),
            live_version=live,
            outputs=config.outputs,
            metrics=config.metrics,
            predictor=config.predictor,
            smoke_test=config.smoke_test,
            model_sources=config.model_sources,
        )
        left = {"run_id": run_id, "outputs": made}
        ti = SimpleNamespace(xcom_pull=lambda task_id, key: left[key])
        task.execute({"ti": ti, "params": {"regularization": 1.0, "seed": 8}})  # type: ignore[typeddict-item]
        return read_candidate(f"{folder}/candidate.json")

    return run
