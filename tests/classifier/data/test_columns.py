"""Columns give what the same functions give value by value."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from include.classifier.data.columns import as_texts, clean_all, distinct, may_hold_texts, unescape_all
from include.classifier.serving.text import clean


def test_cleaning_a_column_is_cleaning_each_text() -> None:
    rng = random.Random(1)
    characters = (
        [chr(number) for number in range(128)] + list("ée\u0301\u00a0\u3000\u2028ﬁ\ufeff") + list(' \\n"ab') * 10
    )
    texts = ["".join(rng.choices(characters, k=rng.randrange(12))) for _ in range(20_000)]
    texts += ["", " ", "a b", "a  b", " a", "a ", "a\n", 'say \\"x\\"', "a\\nb", "~!", "[]"]

    assert clean_all(pa.array(texts)).to_pylist() == [clean(text) for text in texts]


def test_only_texts_that_cleaning_may_change_are_cleaned_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("include.classifier.data.columns.clean", lambda text: seen.append(text) or "cleaned")

    assert clean_all(pa.array(["plain, it's!", None, "two  spaces", "~[{^"])).to_pylist() == [
        "plain, it's!",
        "",
        "cleaned",
        "~[{^",
    ]
    assert seen == ["two  spaces"]


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "é"],
        pa.array(["a", None, "é"]),
        pa.array(["a", None, "é"], pa.large_string()),
        pa.array(["a", None, "é"]).dictionary_encode(),
        pa.array([b"a", None, "é".encode()], pa.binary()),
        pa.array([b"a", None, "é".encode()], pa.large_binary()),
        pa.array([b"a", None, "é".encode()], pa.binary_view()),
        pa.array([b"a", None, "é".encode()]).dictionary_encode(),
    ],
)
def test_strings_of_all_kinds_are_texts(values: Any) -> None:
    texts = as_texts(values)

    assert texts.values.equals(pa.array(["a", None, "é"]))
    assert (texts.are_texts.all(), texts.are_unicode.all()) == (True, True)
    assert isinstance(values, list) or may_hold_texts(values.type)


@pytest.mark.parametrize("values", [[1, None, "a"], pa.array([1, None, 2]), pa.array([[1], None, [2]])])
def test_what_is_no_string_is_no_text(values: Any) -> None:
    texts = as_texts(values)

    assert texts.are_texts.tolist() == [False, True, not isinstance(values, pa.Array)]
    assert texts.values.to_pylist() == [None, None, None if isinstance(values, pa.Array) else "a"]
    assert isinstance(values, list) or not may_hold_texts(values.type)


def test_bytes_that_are_no_text_are_none_and_spoil_no_other() -> None:
    texts = as_texts(pa.array([b"fine", b"\xff", None, b""]))

    assert texts.are_texts.tolist() == [True, False, True, True]
    assert texts.values.to_pylist() == ["fine", None, None, ""]
    values, rows = distinct(pa.array([b"fine", b"\xff", None, b"fine"]))
    assert [values[row] for row in rows] == ["fine", b"\xff", None, "fine"]


@pytest.mark.parametrize(
    ("text", "unescaped"),
    [
        (r"Good food.\nNice place.\n\nBye", "Good food. Nice place.  Bye"),
        (r"the \"best\" place", 'the "best" place'),
        (r"the \\\"best\\\" place", 'the "best" place'),
        ("plain", "plain"),
    ],
)
def test_escapes_of_exports_become_what_they_stand_for(text: str, unescaped: str) -> None:
    assert unescape_all(pa.array([text, None])).to_pylist() == [unescaped, None]


def test_half_of_a_surrogate_pair_is_found_and_counts_as_a_character() -> None:
    texts = as_texts(["a\ud83d", "é", None])

    assert texts.are_unicode.tolist() == [False, True, True]
    assert texts.values.to_pylist() == ["a?", "é", None]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", "b", None, "a"]), ["a", "b", None]),
        (pa.array(["a", "b", None, "a"]).dictionary_encode(), ["a", "b", None]),
        (pa.array([1, 2, None, 1]), [1, 2, None]),
        (pa.array([True, False, True]), [True, False]),
        (pa.array([[1], None, [1]]), [[1], None, [1]]),
        ([1, "a", 1], [1, "a", 1]),
    ],
)
def test_distinct_values_stand_for_all(column: Any, expected: list[Any]) -> None:
    values, rows = distinct(column)

    assert values == expected
    assert [values[row] for row in rows] == (column.to_pylist() if isinstance(column, pa.Array) else column)
