"""What a run has predicted is kept, and compared with the live version's row by row."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.exceptions import ReleaseRefusedError
from tests.connected import connect
from tests.model_releases.operators.candidates.collecting import PAIRED, Pipelines, rows, told
from tests.own_models import BEFORE, MODEL, VERSION


class Live:
    """A version that was collected before, as the registry knows it."""

    def __init__(self, folder: Path, made: dict[str, Any]) -> None:
        self.folder = folder / MODEL / BEFORE
        self.folder.mkdir(parents=True)
        (self.folder / "candidate.json").write_text(json.dumps(made))
        sha256 = hashlib.sha256((self.folder / "candidate.json").read_bytes()).hexdigest()
        self.facts = {"candidate_sha256": sha256, "metric.candidate.accuracy": "0.5"}
        self.model, self.version = MODEL, BEFORE

    def get_release(self, model: str, version: str) -> Any:
        return self


@pytest.fixture
def paired(collect: Any, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return ``paired(first, second)``: collects the live version's predictions, then the candidate's."""

    def run(first: str, second: str, *, change: Any = None) -> Any:
        written = artifact.with_name("predictions")
        outputs = told(artifact) | {"parameters": {"predictions": str(written)}}
        written.write_text(first)
        before = collect(outputs, **PAIRED)
        document = json.loads((tmp_path / "store" / MODEL / VERSION / "candidate.json").read_text())
        kept = tmp_path / "store" / MODEL / BEFORE / "predictions.jsonl"
        document |= {"version": BEFORE, "predictions": document["predictions"] | {"uri": kept.as_uri()}}
        live = Live(tmp_path / "store", document)
        kept.write_bytes(Path(before.predictions.uri.removeprefix("file://")).read_bytes())
        connect(monkeypatch, pipelines_default=Pipelines(tmp_path / "artifacts"), registry_default=live)
        if change:
            change(live, kept)
        written.write_text(second)
        (artifact / "model.skops").write_bytes(b"another model")
        return collect(outputs, live=BEFORE, run_id="a-run", **PAIRED)

    return run


def test_predictions_are_kept_and_compared_row_by_row(paired: Any) -> None:
    candidate = paired(rows(18), rows(16))
    assert {metric.name: metric.live for metric in candidate.metrics} == {"accuracy": 0.9, "f1": pytest.approx(0.9)}
    assert candidate.figures()["candidate.accuracy"] == 0.8
    assert candidate.predictions.rows == 20
    comparison = candidate.comparison
    assert (comparison.version, comparison.rows, comparison.confidence) == (BEFORE, 20, 0.95)
    (accuracy, f1) = comparison.differences
    assert (accuracy.name, accuracy.difference, f1.name) == ("accuracy", pytest.approx(-0.1), "f1")
    assert accuracy.low < -0.2
    assert accuracy.high > 0
    assert json.loads(candidate.facts()["paired_comparison"])["differences"][0]["low"] == accuracy.low
    gone = Path(candidate.predictions.uri.removeprefix("file://"))
    assert hashlib.sha256(gone.read_bytes()).hexdigest() == candidate.predictions.sha256


@pytest.mark.parametrize(
    ("first", "change", "reason"),
    [
        (rows(18, labels="ba"), None, f"live {BEFORE} has predicted other rows, or the same with other labels"),
        (rows(18) + "20,a,a\n", None, f"live {BEFORE} has predicted other rows"),
        (rows(18), lambda live, kept: kept.unlink(), f"the predictions of live {BEFORE} are gone"),
        (
            rows(18),
            lambda live, kept: (live.folder / "candidate.json").unlink(),
            f"live {BEFORE} was of another kind, or its candidate.json is gone",
        ),
    ],
)
def test_what_cannot_be_paired_is_said(paired: Any, first: str, change: Any, reason: str) -> None:
    candidate = paired(first, rows(16), change=change)
    assert candidate.comparison is None
    assert reason in candidate.not_comparable
    assert candidate.metrics[0].live == 0.5  # what is recorded of it


def test_what_is_kept_of_the_live_version_counts_only_unchanged(paired: Any) -> None:
    with pytest.raises(ReleaseRefusedError, match="has SHA-256"):
        paired(rows(18), rows(16), change=lambda live, kept: kept.write_text(rows(2)))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "Predictions .* are not there"),
        ("id,label,prediction\n1,a,\n", "row 1: `prediction` is no number and no text"),
    ],
)
def test_predictions_that_cannot_be_read_are_refused(
    collect: Any, artifact: Path, content: str | None, complaint: str
) -> None:
    written = artifact.with_name("predictions")
    if content:
        written.write_text(content)
    with pytest.raises(InvalidRequestError, match=complaint):
        collect(told(artifact) | {"parameters": {"predictions": str(written)}}, **PAIRED)
    with pytest.raises(InvalidRequestError, match="left the predictions at file:///etc/passwd, where it is not read"):
        collect(told(artifact) | {"parameters": {"predictions": "/etc/passwd"}}, **PAIRED)
    with pytest.raises(InvalidRequestError, match="no output 'predictions'"):
        collect(told(artifact), **PAIRED)


def test_errors_are_of_numbers(collect: Any, artifact: Path) -> None:
    written = artifact.with_name("predictions")
    written.write_text(rows(18))
    metrics = [{"name": "error", "better": "lower", "from_predictions": "mean_absolute_error"}]
    with pytest.raises(InvalidRequestError, match="a label or a prediction is no finite number"):
        collect(told(artifact) | {"parameters": {"predictions": str(written)}}, **PAIRED | {"metrics": metrics})
