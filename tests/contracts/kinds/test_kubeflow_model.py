"""``candidate.json`` of a pipeline of anybody's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.contracts.documents import DocumentError
from include.contracts.kinds import parse_candidate
from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.metrics import MAIN_METRICS, metrics_of
from tests.own_models import BEFORE, compared, document


def parsed(**changes: Any) -> KubeflowModelCandidate:
    found = parse_candidate(json.dumps(document(**changes)), where="candidate.json")
    assert isinstance(found, KubeflowModelCandidate)
    return found


def test_it_says_what_a_release_asks_of_any_candidate() -> None:
    candidate = parsed(metrics=compared((0.96, 0.94), (0.2, None)), live_version=BEFORE)

    assert candidate.compared_version == BEFORE
    assert candidate.figures() == {"candidate.accuracy": 0.96, "candidate.log_loss": 0.2, "live.accuracy": 0.94}
    facts = candidate.facts()
    assert json.loads(facts["predictor"]) == {"format": "sklearn", "protocol": "v1"}
    assert [(metric.name, metric.higher_is_better) for metric in metrics_of(facts)] == [
        ("accuracy", True),
        ("log_loss", False),
    ]
    assert metrics_of({}) is MAIN_METRICS


def test_its_digest_is_that_of_its_files_as_they_are() -> None:
    archive = parsed().archive
    (uri,) = archive.sizes()

    assert uri == f"{archive.uri}/model.skops"
    assert archive.digest(lambda asked: archive.files["model.skops"].sha256 if asked == uri else "") == archive.sha256
    assert archive.digest(lambda _: "0" * 64) != archive.sha256


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"files": {"model.skops": {"sha256": "0" * 64, "size_bytes": 7}}}, "sha256 is not that of the files"),
        ({"files": {"../model.skops": {"sha256": "0" * 64, "size_bytes": 7}}}, "cannot be part of a model"),
        ({"files": {}}, "archive.files"),
    ],
)
def test_files_that_are_not_what_was_announced_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DocumentError, match=complaint):
        parsed(archive=document()["archive"] | change)


@pytest.mark.parametrize(
    ("uri", "sha256", "complaint"),
    [
        (f"hf://owner/name:{'c' * 40}", "d" * 64, "sha256 is not that of the address"),
        ("hf://owner/name:main", "d" * 64, "may lead to something else"),
        (f"oci://../model@sha256:{'d' * 64}", "d" * 64, "may lead to something else"),
    ],
)
def test_an_address_that_is_no_content_is_no_model(uri: str, sha256: str, complaint: str) -> None:
    with pytest.raises(DocumentError, match=complaint):
        parsed(archive={"uri": uri, "sha256": sha256})


def test_a_figure_that_is_no_number_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"metrics\.0\.value"):
        parsed(metrics=compared((float("nan"), None), (0.2, None)))


def test_what_judged_a_version_serves_it() -> None:
    container = {"image": "server:1", "command": [], "args": ["--fast"], "env": {}, "port": 8080}
    asked = {"predictor": {"format": "sklearn", "protocol": "v1", "runtime": "new"}, "kserve": {"cpu": "2"}}

    assert parsed().served_with(asked)["predictor"] == {"format": "sklearn", "protocol": "v1"}
    candidate = parsed(predictor={"protocol": "v2", "container": {"image": "server:1", "args": ["--fast"]}})
    assert candidate.served_with(asked) == {
        "predictor": {"protocol": "v2", "container": container},
        "kserve": {"cpu": "2"},  # how much of a cluster it gets is no part of what was judged
    }
    assert candidate.facts()["model_format"] == "custom"


def test_it_is_served_as_it_was_released_whatever_the_yaml_says_by_now() -> None:
    settings = {"predictor": {"format": "onnx", "protocol": "v2", "more": 1}, "else": 2}

    assert parsed().served_with(settings) == {
        "predictor": {"format": "sklearn", "protocol": "v1", "more": 1},
        "else": 2,
    }
