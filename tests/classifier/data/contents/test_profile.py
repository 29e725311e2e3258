"""The profile of a split is that of its rows, however they come, and holds no text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include.classifier.data.contents.profile import RowProfile
from include.contracts.data.profile import LENGTHS, Profile


def profile(texts: list[str], *, at_once: int, most: int = 20_000) -> dict:
    found = RowProfile(most)
    for begin in range(0, len(texts), at_once):
        found.add(pa.table({"text": texts[begin : begin + at_once]}))
    document = found.document()
    assert document is not None
    Profile.model_validate(document)
    return document


def test_lengths_and_scripts_are_counted() -> None:
    texts = ["a" * 10] * 50 + ["b" * 100] * 45 + ["привет"] * 5

    document = profile(texts, at_once=7)

    assert document["rows"] == 100
    assert document["quantiles"] == [6, 10, 10, 100, 100]
    assert document["scripts"] == {"Cyrillic": 0.05, "Latin": 0.95}
    assert dict(zip(LENGTHS, document["up_to"], strict=True)) | {4: 0.0, 6: 0.05, 11: 0.55, 91: 0.55, 128: 1.0} == dict(
        zip(LENGTHS, document["up_to"], strict=True)
    )


@pytest.mark.parametrize("most", [7, 8, 100])
def test_of_many_rows_those_are_looked_at_that_lie_evenly_however_they_come(most: int) -> None:
    random = np.random.default_rng(3)
    texts = ["x" * int(size) for size in random.integers(1, 300, 1000)]
    documents = [profile(texts, at_once=size, most=most) for size in (1, 13, 64, 1000)]
    assert all(document == documents[0] for document in documents)
    assert most / 2 <= documents[0]["rows"] <= most


def test_of_no_rows_there_is_none() -> None:
    assert RowProfile().document() is None
