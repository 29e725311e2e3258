"""What the tests of collecting share: a service that knows where runs leave their models, and what a run tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubeflow_provider.services import Run

METRICS = {"uri": "file:///nowhere/metrics", "type": "system.Metrics", "metadata": {"accuracy": 0.96, "log_loss": 0.2}}


class Pipelines:
    """A service that knows where the artifacts of a run lie."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.runs: dict[str, Run] = {}

    def artifacts_uri(self, run_id: str) -> str:
        return f"file://{self._folder / run_id}"

    def get_run(self, run_id: str) -> Run | None:
        return self.runs.get(run_id)


def told(model: str | Path) -> dict[str, Any]:
    """Return what a run tells of its outputs: a model, and metrics."""
    uri = f"file://{model}" if isinstance(model, Path) else model
    return {"artifacts": {"model": {"uri": uri, "type": "system.Model"}, "metrics": METRICS}}


def rows(right: int, *, labels: str = "ab") -> str:
    """Return twenty predictions as CSV, of which so many are right."""
    lines = ((row, labels[row % 2], labels[(row + (row >= right)) % 2]) for row in range(20))
    return "id,label,prediction\n" + "".join(f"{row},{label},{found}\n" for row, label, found in lines)


PAIRED: dict[str, Any] = {
    "outputs": {"model": "model", "predictions": "predictions"},
    "metrics": [
        {"name": "accuracy", "from_predictions": "accuracy", "max_regression": 0.02},
        {"name": "f1", "from_predictions": "macro_f1"},
    ],
}
