"""A slice that is worse is found; where none is, the worst of many is not said to be one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from include.classifier.evaluation.slice_search import (
    LEAST_ROWS,
    MOST_PAIRS,
    MOST_WORDS,
    Conditions,
    conditions_of,
    find_worst,
    worst_slice,
)
from include.classifier.metrics import Slice, length_slices
from include.contracts.kinds.text_classifier import WorstSlice

ROWS = 1000


def made_up(rows: int = ROWS, *, seed: int = 0) -> list[str]:
    """Return texts of words that are as unevenly common as those of a language."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, 301)
    words = np.array([f"word{number}" for number in range(300)])
    return [" ".join(random.choice(words, length, p=shares / shares.sum())) for length in random.integers(2, 30, rows)]


@pytest.fixture(scope="module")
def conditions() -> Conditions:
    return conditions_of(made_up())


def place(conditions: Conditions, *, rows: range) -> int:
    return next(
        index
        for index, condition in enumerate(conditions.tried)
        if condition.kind == "word" and int(conditions.rows[:, index].sum()) in rows
    )


def test_without_a_bad_slice_hardly_ever_one_is_claimed(conditions: Conditions) -> None:
    """By chance 2.5 % of the intervals lie below 0; of the worst of all tried on all rows most of them would."""
    random = np.random.default_rng(11)
    claims = naive = 0
    for _ in range(300):
        correct = random.random(ROWS) < 0.9
        found = find_worst(conditions, correct)
        assert found is not None
        claims += found["stands_out"]
        shares = np.array([correct[rows].mean() for rows in conditions.rows.T])
        sizes = conditions.rows.sum(axis=0)
        naive += bool((shares < 0.9 - 1.96 * np.sqrt(0.09 / sizes)).any())
    assert len(conditions.tried) > 50
    assert claims <= 18
    assert naive > 150


def test_a_bad_slice_is_found_and_measured(conditions: Conditions) -> None:
    random, worse = np.random.default_rng(12), place(conditions, rows=range(80, 121))
    found, held = 0, 0
    for _ in range(50):
        correct = random.random(ROWS) < np.where(conditions.rows[:, worse], 0.6, 0.93)
        worst = find_worst(conditions, correct)
        assert worst is not None
        is_it = worst["word"] == conditions.tried[worse].word and worst["stands_out"]
        found += is_it
        held += is_it and worst["difference"]["low"] <= -0.33 <= worst["difference"]["high"]
    assert found >= 45
    assert held >= 0.85 * found


def test_every_kind_of_condition_finds_its_slice() -> None:
    texts = made_up(600)
    kinds: dict[str, tuple[Sequence[int], str]] = {
        "script": (range(100), "слово ещё одно"),
        "pair": (range(100), "money back"),
        "sign": (range(100), "see www.example.com"),
        "length": (range(100), " ".join(f"a{n}" for n in range(60))),
    }
    random = np.random.default_rng(3)
    for kind, (rows, words) in kinds.items():
        own = list(texts)
        for row in rows:
            own[row] = f"{words} {row % 3}x" if kind == "script" else f"{texts[row]} {words}"
        correct = random.random(600) < np.where(np.arange(600) < 100, 0.3, 0.95)
        found = worst_slice(own, correct, [])
        assert found is not None and found["stands_out"], kind
        WorstSlice.model_validate(found)
        assert found["rows"] == pytest.approx(100, abs=25), (kind, found)


def test_what_has_a_name_is_not_found_again() -> None:
    texts = [f"{text} refund" if row < 100 else text for row, text in enumerate(made_up(600))]
    worse = np.arange(600) < 100
    correct = np.random.default_rng(4).random(600) < np.where(worse, 0.3, 0.95)
    found = worst_slice(texts, correct, length_slices(texts))
    assert found is not None and found["word"] == "refund"
    again = worst_slice(texts, correct, [Slice("refunds", worse, "keywords: refund")])
    assert again is None or again["word"] != "refund"


def test_the_search_is_bounded_and_needs_rows() -> None:
    texts = made_up(400)
    kinds = [condition.kind for condition in conditions_of(texts).tried]
    assert kinds.count("word") <= MOST_WORDS and kinds.count("pair") <= MOST_PAIRS
    assert worst_slice(texts[: LEAST_ROWS - 1], np.ones(LEAST_ROWS - 1, dtype=bool), []) is None
    assert worst_slice(["same"] * 300, np.ones(300, dtype=bool), []) is None
    assert worst_slice(texts, np.ones(400, dtype=bool), []) == worst_slice(texts, np.ones(400, dtype=bool), [])


def test_only_the_word_is_of_a_text() -> None:
    for condition in conditions_of(made_up(400)).tried:
        assert "word1" not in condition.description
        assert (condition.word is not None) == (condition.kind in ("word", "pair"))
