"""How a release asks a text classifier, and reads its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.contracts.kinds import CANDIDATES
from include.contracts.monitoring.captured import CapturedRequest
from kubeflow_provider.services import Answer
from model_releases.kinds import KINDS, kind_of
from model_releases.kinds.text_classifier import TextClassifier, Texts
from tests import candidates


def answer(body: Any) -> Answer:
    return Answer(status_code=200, body=body, latency_ms=1.0)


def test_every_document_has_its_kind() -> None:
    assert set(KINDS) == set(CANDIDATES.values())
    assert isinstance(kind_of(candidates.candidate()), TextClassifier)


def test_a_request_asks_for_texts_and_the_answer_says_labels_and_version() -> None:
    texts = Texts(["one", "two"])
    assert json.loads(texts.body(texts.rows)) == {"instances": ["one", "two"]}
    found = answer({"predictions": [{"label": "good", "version": "1"}, {"label": "bad", "version": "1"}]})
    assert texts.outcomes(found, ["one", "two"]) == ["good", "bad"]
    assert texts.version(found) == "1"


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        None,
        {},
        {"predictions": None},
        {"predictions": []},
        {"predictions": ["good"]},
        {"predictions": [{}]},
    ],
)
def test_what_is_no_answer_is_told_from_one(body: Any) -> None:
    with pytest.raises(ValueError):
        Texts(["one"]).outcomes(answer(body), ["one"])


def test_a_candidate_without_held_out_rows_is_watched_with_its_golden_examples() -> None:
    candidate = candidates.candidate(held_out_texts=[])
    assert kind_of(candidate).questions().rows == [example.text for example in candidate.golden_examples]
    assert kind_of(candidates.candidate(held_out_texts=["a row"])).questions().rows == ["a row"]


def captured(*inputs: Any) -> CapturedRequest:
    rows = [{"input": each, "features": {}, "output": "good", "confidence": 0.9} for each in inputs]
    return CapturedRequest.model_validate(
        {
            "schema_version": 1,
            "id": "one",
            "at": "2026-01-01T00:00:00.000Z",
            "model": "reviews",
            "version": None,
            "protocol": "v2",
            "status": 200,
            "latency_ms": None,
            "rows": rows,
        }
    )


def test_a_captured_request_is_asked_again_where_all_its_texts_were_kept() -> None:
    kind = kind_of(candidates.candidate())
    assert json.loads(kind.asked_again(captured("one", "two")) or b"") == {"instances": ["one", "two"]}
    for inputs in ((), ("one", None), ({"sha256": "a" * 64},)):
        assert kind.asked_again(captured(*inputs)) is None


def test_the_release_card_says_how_many_answers_change() -> None:
    changed = {"share": 0.02, "low": 0.011, "high": 0.036}
    kind = kind_of(candidates.candidate(shadow=candidates.shadow(changed=changed)))
    title = "changed answers to users' requests"
    assert [*kind.figures(kind.policy({"max_changed_share": 0.05}))][-1] == (title, "0.0200", "-", "-", "<= 0.0500")
    assert [*kind.figures(None)][-1] == (title, "0.0200", "-", "-", "")
    assert title not in str(kind_of(candidates.candidate()).figures(None))
