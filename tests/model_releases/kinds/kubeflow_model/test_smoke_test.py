"""Recorded requests, answered by anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.contracts.kinds.kubeflow_model import Recorded
from kubeflow_provider.services import Answer
from model_releases.exceptions import CheckFailedError
from model_releases.kinds.answers import answering_version
from model_releases.kinds.kubeflow_model.smoke_test import RequestsSmokeTest, canonical, outcome
from tests.own_models import BEFORE, VERSION

GOOD, BAD = {"instances": [[1.0]]}, {"instances": [["a secret"]]}


def run(*, status: int = 200, refused_with: int = 400, latency_ms: float = 5.0, **changes: Any) -> list[str]:
    """Run a test of one request; ``body`` and ``version`` are those of the answer."""
    answer = changes.pop("answer", {"predictions": [0.5]})
    body, version = changes.pop("body", {"predictions": [0.5], "more": 1}), changes.pop("version", VERSION)

    def predict(sent: bytes) -> Answer:
        is_good = json.loads(sent) == GOOD
        return Answer(
            status_code=status if is_good else refused_with,
            body=body if is_good else {"error": "a secret"},
            latency_ms=latency_ms,
            version=version,
        )

    settings = {"max_latency_ms": 100.0, "max_answer_bytes": 1000, "patience_seconds": 0.0} | changes
    recorded = Recorded(request=GOOD, answer=answer, tolerance=0.01)
    test = RequestsSmokeTest(version=VERSION, requests=[recorded], refused=[BAD], **settings)
    return list(test.run(predict))


def test_a_sound_version_passes() -> None:
    assert run(body={"predictions": [0.505]}) == [
        "recorded request 1 of 1: as recorded, largest difference 0.005, at most 0.01 allowed",
        "latency: median 5 ms, at most 100 ms allowed",
        "bad request 1 of 1: refused with 400",
    ]
    assert run(answer=None, body="anything")[0] == f"recorded request 1 of 1: answered by {VERSION}"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"status": 500}, "HTTP 200.*HTTP 500"),
        ({"version": BEFORE}, f"answer of version {VERSION}.*{BEFORE}"),
        ({"version": None}, "nobody says which"),
        ({"version": "a secret"}, "another one"),
        ({"body": {"predictions": [0.52]}}, r"answer\.predictions\[0\] within 0.01.*a difference of 0.02"),
        ({"body": {"predictions": [float("nan")]}}, "a difference of nan"),
        ({"body": {"predictions": [0.5, 0.5]}}, r"1 entries in answer\.predictions.*2"),
        ({"body": {"predictions": ["a secret"]}}, "as recorded.*something else"),
        ({"body": {"outputs": []}}, r"answer\.predictions.*nothing there"),
        ({"body": "a secret"}, "as recorded.*something else"),
        ({"answer": {"predictions": [True]}, "body": {"predictions": [1]}}, "as recorded.*something else"),
        ({"max_answer_bytes": 10}, "at most 10 bytes"),
        ({"latency_ms": 200.0}, "latency.*200 ms"),
        ({"refused_with": 200}, "bad request 1 of 1.*4xx.*HTTP 200"),
        ({"refused_with": 500}, "4xx.*HTTP 500"),
    ],
)
def test_what_is_not_as_recorded_is_named_and_nothing_of_it_repeated(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CheckFailedError, match=complaint) as caught:
        run(**change)
    assert "a secret" not in str(caught.value)


def test_who_has_answered_is_what_the_server_says_of_it() -> None:
    def answer(body: Any, version: str | None = None) -> Answer:
        return Answer(status_code=200, body=body, latency_ms=1.0, version=version)

    ours = {"predictions": [{"version": "3"}], "model_version": "2"}
    assert answering_version(answer(ours, "1")) == "1"
    assert answering_version(answer(ours)) == "2"
    assert answering_version(answer({"predictions": [{"version": "3"}]})) == "3"
    assert [answering_version(answer(body)) for body in ({"predictions": []}, {"predictions": [0]}, "text", None)] == [
        ""
    ] * 4


def test_two_answers_of_two_versions_are_the_same_when_their_predictions_are() -> None:
    one, other = ({"model_version": version, "outputs": [{"data": [0.1 + 0.2]}]} for version in "12")
    assert canonical(one) == canonical(other) == '{"outputs": [{"data": [0.3]}]}'


def test_two_versions_answer_alike_where_both_answer_as_recorded() -> None:
    recorded = Recorded(request={}, answer={"predictions": [0.5]}, tolerance=0.1)
    assert outcome(recorded, {"predictions": [0.45]}) == outcome(recorded, {"predictions": [0.55]}) == "as recorded"
    assert outcome(recorded, {"predictions": [0.7]}) == '{"predictions": [0.7]}'
    # Where nothing was recorded, they are compared with each other.
    assert outcome(Recorded(request={}, tolerance=0.1), {"predictions": [0.45]}) == '{"predictions": [0.45]}'
