"""How a release asks a text classifier, and reads its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.contracts.kinds import CANDIDATES
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
