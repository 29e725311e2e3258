"""A candidate made of what a run has told of its outputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from include.contracts.version.model_files import digest_of
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.kinds.kubeflow_model.approval_card import approval_card
from model_releases.memory.evidence import gather
from tests.model_releases.operators.candidates.collecting import METRICS, told
from tests.own_models import BEFORE, MODEL, SETTINGS, VERSION


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
