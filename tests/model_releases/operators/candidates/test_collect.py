"""A candidate made of what a run has told of its outputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.version.model_files import digest_of
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.services import Run
from kubeflow_provider.states import RunState
from model_releases.config import KubeflowModelConfig
from model_releases.exceptions import ReleaseRefusedError
from model_releases.kinds.kubeflow_model.approval_card import approval_card
from model_releases.kinds.kubeflow_model.checking import check_run
from model_releases.memory.candidate import read_candidate
from model_releases.memory.evidence import gather
from model_releases.operators.candidates.collect import CollectCandidateOperator
from tests.connected import connect
from tests.own_models import BEFORE, MODEL, SETTINGS, VERSION

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


def told(model: str | Path) -> dict[str, Any]:
    uri = f"file://{model}" if isinstance(model, Path) else model
    return {"artifacts": {"model": {"uri": uri, "type": "system.Model"}, "metrics": METRICS}}


def test_the_model_is_copied_and_every_digest_pinned(collect: Any, artifact: Path, tmp_path: Path) -> None:
    (artifact / "more").mkdir()
    (artifact / "more" / "words.txt").write_text("some words")
    candidate = collect(told(artifact))

    copy = tmp_path / "store" / MODEL / VERSION / "package"
    assert candidate.archive.uri == copy.as_uri()
    assert candidate.archive.sha256 == digest_of(copy) == digest_of(artifact)
    assert {name: file.size_bytes for name, file in candidate.archive.files.items()} == {
        "model.skops": 7,
        "more/words.txt": 10,
    }
    assert candidate.made_by.parameters == {"regularization": 1.0, "seed": 8}
    assert candidate.figures() == {"candidate.accuracy": 0.96, "candidate.log_loss": 0.2}
    assert [each.tolerance for each in candidate.requests] == [1e-6]

    uri = (copy.parent / "candidate.json").as_uri()
    assert gather(candidate, uri, conn_id=None).archive_sha256 == candidate.archive.sha256
    (copy / "model.skops").write_bytes(b"b model")
    with pytest.raises(Exception, match=f"has SHA-256 .*, and {candidate.archive.sha256} was evaluated"):
        gather(candidate, uri, conn_id=None)


@pytest.mark.parametrize(
    ("uri", "sha256"),
    [
        (f"hf://owner/name:{'c' * 40}", hashlib.sha256(f"hf://owner/name:{'c' * 40}".encode()).hexdigest()),
        (f"oci://registry.example:5000/team/model@sha256:{'d' * 64}", "d" * 64),
    ],
)
def test_what_only_a_cluster_reads_is_served_as_it_is(collect: Any, tmp_path: Path, uri: str, sha256: str) -> None:
    sources = ["hf://owner", "oci://registry.example:5000/team"]
    candidate = collect(told(uri), outputs=SETTINGS["outputs"] | {"allowed_sources": sources})

    assert (candidate.archive.uri, candidate.archive.sha256, candidate.archive.sizes()) == (uri, sha256, {})
    assert candidate.archive.lies_in_store is False
    document = (tmp_path / "store" / MODEL / VERSION / "candidate.json").as_uri()
    assert gather(candidate, document, conn_id=None).archive_sha256 == sha256
    assert uri in approval_card(candidate)
    assert [path.name for path in (tmp_path / "store" / MODEL / VERSION).iterdir()] == ["candidate.json"]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("hf://owner/name", "may lead to something else tomorrow"),
        ("hf://owner/name:main", "may lead to something else tomorrow"),
        ("oci://registry.example/model:latest", "may lead to something else tomorrow"),
        (f"hf://stranger/name:{'c' * 40}", r"where it is not read. Name its folder in `outputs\.allowed_sources`"),
    ],
)
def test_an_address_that_may_change_or_that_nobody_named_is_refused(collect: Any, uri: str, words: str) -> None:
    sources = ["hf://owner", "oci://registry.example"]
    with pytest.raises(InvalidRequestError, match=words):
        collect(told(uri), outputs=SETTINGS["outputs"] | {"allowed_sources": sources})


def test_another_try_writes_over_it_and_another_run_beside_it(collect: Any, artifact: Path, tmp_path: Path) -> None:
    first = collect(told(artifact))
    left = Path(first.archive.uri.removeprefix("file://")) / "left-by-a-try-that-was-killed"
    left.write_text("half")
    assert collect(told(artifact)).archive == first.archive
    assert not left.exists()

    second = tmp_path / "artifacts" / "another" / "model.skops"
    second.parent.mkdir()
    second.write_bytes(b"another model")
    candidate = collect(told(second), run_id="another")
    assert candidate.archive.uri.endswith("/attempt-2/package")
    assert candidate.archive.files["model.skops"].sha256 == hashlib.sha256(b"another model").hexdigest()
    assert Path(first.archive.uri.removeprefix("file://"), "model.skops").read_bytes() == b"a model"


def test_what_is_live_is_compared_with_by_its_record(collect: Any, artifact: Path) -> None:
    candidate = collect(told(artifact), live=BEFORE)
    assert candidate.compared_version == BEFORE
    assert {metric.name: metric.live for metric in candidate.metrics} == {"accuracy": 0.94, "log_loss": None}


def test_outputs_may_be_parameters_and_those_of_steps(collect: Any, artifact: Path) -> None:
    (artifact / "model.skops").rename(artifact.with_name("data"))
    artifact.rmdir()
    outputs = {
        "parameters": {"accuracy": "0.97", "log_loss": 0},
        "steps": {"nested.train": {"parameters": {"where": str(artifact.with_name("data"))}}},
    }
    names = {"model": "nested.train.where", "model_file": "model.skops"}
    candidate = collect(outputs, outputs=names)
    assert list(candidate.archive.files) == ["model.skops"]
    assert candidate.figures() == {"candidate.accuracy": 0.97, "candidate.log_loss": 0.0}


@pytest.mark.parametrize(
    ("outputs", "complaint"),
    [
        ({}, "no output 'model' that is an artifact or a URI. Its outputs are metrics. Name the one"),
        ({"artifacts": {}}, "no output 'model' that is an artifact or a URI. It tells of no outputs: .* `outputs_uri`"),
        ({"parameters": {"model": 3}}, "no output 'model' .* Its outputs are metrics, model"),
        (told("file:///etc/passwd"), "left the model at file:///etc/passwd, where it is not read"),
        (told("s3://somebody/else"), "where it is not read"),
        (told("file:///nowhere::s3://else"), "where it is not read"),
    ],
)
def test_what_cannot_be_a_model_is_refused(collect: Any, outputs: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequestError, match=complaint):
        collect({"artifacts": {"metrics": METRICS}} | outputs)


def test_files_elsewhere_are_not_read_by_any_detour(collect: Any, artifact: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "model.skops").write_text("nobody's business")
    with pytest.raises(InvalidRequestError, match="where it is not read"):
        collect(told(f"file://{artifact}/../../../secret"))
    (artifact / "folder").symlink_to(secret)
    with pytest.raises(InvalidRequestError, match="which leads elsewhere"):
        collect(told(artifact / "folder"))
    (artifact / "folder").unlink()
    (artifact / "link.skops").symlink_to(secret / "model.skops")
    with pytest.raises(InvalidRequestError, match="plain files only"):
        collect(told(artifact))
    assert collect(told(secret), outputs=SETTINGS["outputs"] | {"allowed_sources": [str(secret)]})


@pytest.mark.parametrize("value", [None, "much", float("nan"), float("inf"), True])
def test_a_metric_that_is_no_number_is_named(collect: Any, artifact: Path, value: Any) -> None:
    outputs = told(artifact)
    outputs["artifacts"]["metrics"] = METRICS | {"metadata": {"accuracy": value, "log_loss": 0.2}}
    with pytest.raises(InvalidRequestError, match=r"has not said accuracy as a number\. 'metrics' holds accuracy"):
        collect(outputs)


def test_a_model_that_is_gone_is_named(collect: Any, artifact: Path) -> None:
    with pytest.raises(InvalidRequestError, match="is not there, though the run has named it"):
        collect(told(artifact / "gone"))


def test_the_document_is_what_others_can_read(collect: Any, artifact: Path, tmp_path: Path) -> None:
    collect(told(artifact))
    document = json.loads((tmp_path / "store" / MODEL / VERSION / "candidate.json").read_text())
    assert document["kind"] == "kubeflow-model"
    assert document["predictor"] == {"format": "sklearn", "protocol": "v1"}


#: Twenty rows, of which so many are labelled rightly.
def rows(right: int, *, labels: str = "ab") -> str:
    lines = ((row, labels[row % 2], labels[(row + (row >= right)) % 2]) for row in range(20))
    return "id,label,prediction\n" + "".join(f"{row},{label},{found}\n" for row, label, found in lines)


PAIRED: dict[str, Any] = {
    "outputs": {"model": "model", "predictions": "predictions"},
    "metrics": [
        {"name": "accuracy", "from_predictions": "accuracy", "max_regression": 0.02},
        {"name": "f1", "from_predictions": "macro_f1"},
    ],
}


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


def test_a_volume_that_airflow_has_too_is_read_there(collect: Any, tmp_path: Path) -> None:
    volume = tmp_path / "mnt"
    (volume / "runs" / "1").mkdir(parents=True)
    (volume / "runs" / "1" / "model.skops").write_bytes(b"a model")
    outputs = SETTINGS["outputs"] | {"read_as": {"pvc://models/of-ours": str(volume / "runs")}}
    candidate = collect(told("pvc://models/of-ours/1"), outputs=outputs)
    assert list(candidate.archive.files) == ["model.skops"]
    for elsewhere in ("pvc://models/1", "pvc://models/of-ours/../1", "pvc://models-of-others/1"):
        with pytest.raises(InvalidRequestError, match="where it is not read"):
            collect(told(elsewhere), outputs=SETTINGS["outputs"] | {"read_as": {"pvc://models/of-ours": str(volume)}})


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
