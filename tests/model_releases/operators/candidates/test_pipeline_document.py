"""A document in which a pipeline says all that a release takes, and a finished run that is checked by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.services import Run
from kubeflow_provider.states import RunState
from model_releases.config import KubeflowModelConfig
from model_releases.kinds.kubeflow_model.checking import check_run
from tests.connected import connect
from tests.model_releases.operators.candidates.collecting import METRICS, Pipelines, rows
from tests.own_models import MODEL, SETTINGS, VERSION

DOCUMENT: dict[str, Any] = {
    "schema_version": 1,
    "metrics": {"accuracy": 0.96, "log_loss": 0.2, "more": 1},
    "requests": [{"request": {"instances": [[1, 2, 3, 4]]}, "answer": {"predictions": [1]}, "tolerance": 0.5}],
    "refused": ["{"],
}
BY_DOCUMENT: dict[str, Any] = {"outputs": {"document": "handed-over"}}


def handed_over(artifact: Path, **changes: Any) -> dict[str, Any]:
    """Write the document of a pipeline of another team, and return what its run tells."""
    written = artifact.with_name("pipeline-model.json")
    written.write_text(json.dumps(DOCUMENT | {"model": str(artifact)} | changes))
    return {"artifacts": {"handed-over": {"uri": f"file://{written}"}}}


def test_one_document_may_say_all_that_a_release_takes(collect: Any, artifact: Path) -> None:
    rows_written = artifact.with_name("rows.csv")
    rows_written.write_text(rows(18))
    digest = hashlib.sha256(b"a model").hexdigest()
    candidate = collect(
        handed_over(artifact, model_sha256=digest, predictions=rows_written.as_uri()),
        **BY_DOCUMENT,
        metrics=[{"name": "accuracy", "from_predictions": "accuracy"}, {"name": "log_loss", "better": "lower"}],
    )
    assert candidate.figures() == {"candidate.accuracy": 0.9, "candidate.log_loss": 0.2}
    assert [(each.request, each.tolerance) for each in candidate.requests][1:] == [({"instances": [[1, 2, 3, 4]]}, 0.5)]
    assert candidate.refused[-1] == "{"
    assert candidate.predictions.rows == 20


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schema_version": 2}, "is not a valid pipeline-model.json: schema_version.*pipeline-model.schema.json"),
        ({"metrics": {"accuracy": "secret"}}, "not a valid pipeline-model.json: metrics.accuracy"),
        ({"more": 1}, "more: Extra inputs"),
        ({"metrics": {"accuracy": 1}}, "The run has not said log_loss as a number"),
        ({"model": "file:///etc/passwd"}, "left the model at file:///etc/passwd, where it is not read"),
        ({"predictions": "/etc/passwd"}, "left the predictions at file:///etc/passwd, where it is not read"),
        ({"model_sha256": "0" * 64}, "another SHA-256 than the pipeline's document says"),
        ({"requests": [{"request": "x" * 200_001}]}, "a request may have 200,000 bytes"),
        ({"requests": [{"request": 1}] * 32}, "The pipeline's requests are too many, or none: requests"),
        ({"requests": [{"request": 1}] * 33}, "requests: List should have at most 32"),
    ],
)
def test_a_document_that_is_not_what_it_should_be_is_refused(
    collect: Any, artifact: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidRequestError, match=complaint) as refused:
        collect(handed_over(artifact, **changes), **BY_DOCUMENT)
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "store" / MODEL / VERSION / "candidate.json").exists()


def test_a_document_lies_where_a_model_may(collect: Any) -> None:
    outputs = {"parameters": {"handed-over": "/etc/passwd"}}
    with pytest.raises(InvalidRequestError, match="left the document at file:///etc/passwd, where it is not read"):
        collect(outputs, **BY_DOCUMENT)


def test_a_finished_run_is_checked_as_a_release_would(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipelines = Pipelines(tmp_path / "artifacts")
    connect(monkeypatch, pipelines_default=pipelines)
    config = KubeflowModelConfig.model_validate(SETTINGS | {"store": (tmp_path / "store").as_uri()})
    with pytest.raises(InvalidRequestError, match="knows no run a-run"):
        list(check_run(config, "a-run"))
    pipelines.runs["a-run"] = Run(run_id="a-run", state=RunState.RUNNING)
    with pytest.raises(InvalidRequestError, match="a-run is RUNNING"):
        list(check_run(config, "a-run"))
    pipelines.runs["a-run"] = Run(run_id="a-run", state=RunState.SUCCEEDED)
    with pytest.raises(InvalidRequestError, match="tells of no outputs"):
        list(check_run(config, "a-run"))

    written = tmp_path / "outputs.json"
    written.write_text(json.dumps({"artifacts": {"model": f"file://{artifact}", "metrics": METRICS}}))
    assert list(check_run(config, "a-run", outputs_uri=str(written))) == [
        f"model: model.skops, 7 bytes, at file://{artifact}",
        "metrics: accuracy 0.96, log_loss 0.2",
        "requests: 1 to be answered, 2 to be refused, by the smoke test alone",
        "gate: good enough for a first release",
    ]
    assert not (tmp_path / "store").exists()
