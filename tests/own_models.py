"""A model of a pipeline of anybody's: its YAML, the outputs of its run, and its ``candidate.json``."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from include.contracts.version.model_files import folder_digest

MODEL, VERSION, BEFORE = "iris", "20260102000000", "20260101000000"

SETTINGS: dict[str, Any] = {
    "name": MODEL,
    "kind": "kubeflow-model",
    "pipeline": "examples/iris/pipeline.yaml",
    "parameters": {"regularization": 1.0, "seed": 7},
    "outputs": {"model": "model", "metrics": "metrics"},
    "metrics": [
        {"name": "accuracy", "at_least": 0.9, "max_regression": 0.02},
        {"name": "log_loss", "better": "lower", "at_most": 0.5, "max_regression": 0.1},
    ],
    "predictor": {"format": "sklearn", "protocol": "v1"},
    "smoke_test": {
        "requests": [{"request": {"instances": [[5.1, 3.5, 1.4, 0.2]]}, "answer": {"predictions": [0]}}],
        "refused": [{"instances": [["a"]]}, '{"instances": ['],
    },
}

_CONTENT = b"a model"


def document(**changes: Any) -> dict[str, Any]:
    """Return a ``candidate.json``; its one file holds ``a model``."""
    sha256 = hashlib.sha256(_CONTENT).hexdigest()
    made = {
        "schema_version": 1,
        "kind": "kubeflow-model",
        "model": MODEL,
        "version": VERSION,
        "created_at": "2026-01-02T00:00:00+00:00",
        "archive": {
            "uri": f"file:///store/{MODEL}/{VERSION}/package",
            "sha256": folder_digest({"model.skops": sha256}),
            "size_bytes": len(_CONTENT),
            "files": {"model.skops": {"sha256": sha256, "size_bytes": len(_CONTENT)}},
        },
        "made_by": {
            "run_id": "a-run",
            "pipeline": "examples/iris/pipeline.yaml",
            "parameters": {"seed": 7},
            "model_uri": "file:///runs/a-run/artifacts/model",
        },
        "metrics": [
            {"name": "accuracy", "higher_is_better": True, "value": 0.96, "live": None},
            {"name": "log_loss", "higher_is_better": False, "value": 0.2, "live": None},
        ],
        "live_version": None,
        "predictor": {"format": "sklearn", "protocol": "v1"},
        "requests": [
            {"request": {"instances": [[5.1, 3.5, 1.4, 0.2]]}, "answer": {"predictions": [0]}, "tolerance": 1e-6}
        ],
        "refused": [{"instances": [["a"]]}],
        "max_answer_bytes": 1000,
    }
    return copy.deepcopy(made | changes)


def compared(accuracy: tuple[float, float | None], log_loss: tuple[float, float | None]) -> list[dict[str, Any]]:
    """Return metrics: the candidate's and the live version's."""
    return [
        {"name": "accuracy", "higher_is_better": True, "value": accuracy[0], "live": accuracy[1]},
        {"name": "log_loss", "higher_is_better": False, "value": log_loss[0], "live": log_loss[1]},
    ]
