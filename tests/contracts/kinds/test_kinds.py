"""A candidate is read as what its kind says it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.contracts.documents import DocumentError
from include.contracts.kinds import parse_candidate
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from tests import candidates


def test_what_names_no_kind_is_a_text_classifier() -> None:
    candidate = parse_candidate(json.dumps(candidates.document()), where="here")
    assert isinstance(candidate, TextClassifierCandidate)


@pytest.mark.parametrize("kind", ["image-classifier", "", None, 1, ["text-classifier"], {}])
def test_an_unknown_kind_is_named_with_those_that_there_are(kind: Any) -> None:
    text = json.dumps(candidates.document() | {"kind": kind})
    with pytest.raises(
        DocumentError, match=r"here is not a valid candidate\.json: kind is none of kubeflow-model, text-"
    ):
        parse_candidate(text, where="here")


@pytest.mark.parametrize("text", ["[]", "1", "null", '"candidate"'])
def test_what_is_no_document_is_told(text: str) -> None:
    with pytest.raises(DocumentError, match=r"here is not a valid candidate\.json"):
        parse_candidate(text, where="here")
