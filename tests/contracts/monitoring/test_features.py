"""The features of an input: the same for the same input everywhere, bounded, and nothing of a text."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from include.contracts.monitoring.features import MOST_CHARACTERS, MOST_COLUMNS, features_of, keyed, vocabulary_of

#: Letters of several scripts, digits, marks, signs, halves of surrogate pairs and what shows nothing.
ALPHABET = "abcXYZ 019.,!?éßжыλ中文あ한ا٣\u0301\u200b\u00a0\n\t\U0001f642\ud800"


def made_up(draw: random.Random) -> str:
    return "".join(draw.choices(ALPHABET, k=draw.randint(0, 60)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"characters": 0, "words": 0, "script": "none", "digit_share": 0.0}),
        ("Good food", {"characters": 9, "words": 2, "script": "Latin", "digit_share": 0.0}),
        ("2026", {"characters": 4, "words": 1, "script": "none", "digit_share": 1.0}),
        ("Привет, world", {"characters": 13, "words": 2, "script": "Cyrillic", "digit_share": 0.0}),
        ("ab жы", {"characters": 5, "words": 2, "script": "Cyrillic", "digit_share": 0.0}),  # the first by name
        ("中文 1", {"characters": 4, "words": 3, "script": "Cjk", "digit_share": 0.25}),
    ],
)
def test_of_a_text_its_length_its_script_and_its_digits(text: str, expected: dict[str, Any]) -> None:
    assert features_of(text) == expected


def test_any_text_has_features_within_their_bounds() -> None:
    draw = random.Random(1)
    for _ in range(1000):
        text = made_up(draw)
        found = features_of(text, vocabulary={"abc", "жы"})
        assert found == features_of(text, vocabulary={"abc", "жы"})
        assert found["characters"] == len(text)
        assert 0 <= found["words"] <= len(text)
        assert 0 <= found["digit_share"] <= 1 and 0 <= found["unknown_share"] <= 1
        assert json.loads(json.dumps(found)) == found


def test_letters_in_another_order_have_the_same_script_and_digits() -> None:
    draw = random.Random(2)
    for _ in range(300):
        text = made_up(draw)
        other = "".join(draw.sample(text, len(text)))
        for name in ("characters", "script", "digit_share"):
            assert features_of(text)[name] == features_of(other)[name]


def test_a_text_twice_as_long_of_the_same_words_has_twice_as_many() -> None:
    draw = random.Random(3)
    for _ in range(300):
        text = " ".join(draw.choices(["good", "42", "жы", "中文"], k=draw.randint(1, 9)))
        once, twice = features_of(text), features_of(f"{text} {text}")
        assert twice["words"] == 2 * once["words"]
        assert twice["script"] == once["script"]


def test_of_a_very_long_text_the_beginning_is_read_and_all_is_counted() -> None:
    found = features_of("a" * MOST_CHARACTERS + " 1" * 1000)
    assert found["characters"] == MOST_CHARACTERS + 2000
    assert (found["words"], found["digit_share"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("text", "share"),
    [("food", 0.0), ("Food FOOD food", 0.0), ("Café", 0.0), ("food zebra", 0.5), ("zebra", 1.0), ("...", 0.0)],
)
def test_a_word_is_known_however_the_tokenizer_spells_it(text: str, share: float) -> None:
    for vocabulary in ({"food", "cafe"}, {"▁food", "▁cafe", "▁Food"}, {"Ġfood", "Ġcafe"}):
        assert features_of(text, vocabulary=vocabulary)["unknown_share"] == share


def test_more_vocabulary_never_makes_a_word_unknown() -> None:
    draw = random.Random(4)
    words = ["good", "bad", "food", "zebra", "жы", "中文"]
    for _ in range(200):
        text = " ".join(draw.choices(words, k=6))
        few = set(draw.sample(words, 2))
        more = few | set(draw.sample(words, 2))
        assert features_of(text, vocabulary=more)["unknown_share"] <= features_of(text, vocabulary=few)["unknown_share"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"age": 4, "is_new": True, "plan": "paid"}, {"age": 4, "is_new": 1, "plan": "paid"}),
        ([1.5, None, "x"], {"x0": 1.5, "x2": "x"}),
        (7, {"x0": 7}),
        ({"nested": [1], "number": math.nan, "far": math.inf, "large": 10**400, "long": "y" * 5000}, {}),
    ],
)
def test_of_a_row_each_column_that_can_be_counted(given: Any, expected: dict[str, Any]) -> None:
    assert features_of(given) == expected


def test_columns_are_bounded_and_categories_can_be_hidden() -> None:
    assert len(features_of(list(range(10 * MOST_COLUMNS)))) == MOST_COLUMNS
    hidden = features_of({"name": "Jane"}, key=b"secret")["name"]
    assert hidden == keyed(b"secret", "Jane")[:16] != keyed(b"other", "Jane")[:16]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"vocab": {"food": 0, "##s": 1}}, {"food", "##s"}),
        ({"vocab": [["▁food", -1.5], ["s", -2]]}, {"▁food", "s"}),
        (None, set()),
    ],
)
def test_the_vocabulary_is_read_from_a_tokenizer_of_any_sort(tmp_path: Path, model: Any, expected: set[str]) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}), encoding="utf-8")
    assert vocabulary_of(tmp_path / "tokenizer.json") == expected
