"""Rows belong to the slices whose rule they fulfil."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from include.classifier.evaluation.slices import languages, slices_of, with_intervals
from include.classifier.metrics import Slice, scores
from include.contracts.kinds.slices import LANGUAGES, SliceRule

TEXTS = [
    "The delivery was late and the food was cold, I want my money back.",
    "Die Lieferung kam zu spät und das Essen war kalt.",
    "REFUND!",
    "No refunds were given to us, which is a shame, honestly.",
    "退款太慢了我很生气",
    "12345 67",
]


def rows(texts: list[str] = TEXTS, columns: dict[str, Any] | None = None, **rule: Any) -> list[int]:
    found = slices_of([SliceRule.model_validate({"name": "own", **rule})], texts, columns)
    return [int(row) for part in found if part.name == "own" for row in np.flatnonzero(part.mask)]


def test_rows_are_told_by_length_keyword_language_and_column() -> None:
    assert rows(words={"at_most": 2}) == [2, 4, 5]
    assert rows(words={"at_least": 9, "at_most": 11}) == [1, 3]
    assert rows(characters={"at_most": 8}) == [2, 5]
    assert rows(language="de") == [1]
    assert rows(language="zh") == [4]
    assert rows(column="source", equals="app", columns={"own": np.array([False, True, True, False, False, False])}) == [
        1,
        2,
    ]


@pytest.mark.parametrize(
    "keywords, found",
    [
        (["refund"], [2]),
        (["Refund", "money  back"], [0, 2]),
        (["refund", "refunds"], [2, 3]),
        (["was c"], []),
        (["was late"], [0]),
        (["退款"], [4]),
        (["spät"], [1]),
        (["refund!"], [2]),
        (["!"], [2]),
        (["a.b"], []),
        (["67"], [5]),
    ],
)
def test_keywords_are_whole_words_where_words_have_borders(keywords: list[str], found: list[int]) -> None:
    assert rows(keywords=keywords) == found


def test_a_slice_without_rows_is_said_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    found = slices_of([SliceRule(name="Danish", language="da")], TEXTS)
    assert [part.rule for part in found] == [None] * 3
    assert "slice 'Danish' (language da) has no evaluation rows" in capsys.readouterr().out


def test_a_name_stands_once() -> None:
    rule = SliceRule.model_validate({"name": "up to 2 words", "words": {"at_most": 1}})
    found = slices_of([rule], ["a", "b c", "d e", "f g h"])
    assert [part.name for part in found].count("up to 2 words") == 1
    assert found[0].mask.sum() == 1


def test_the_languages_are_those_of_the_detector_and_always_the_same() -> None:
    import py3langid.langid

    assert set(py3langid.langid.LanguageIdentifier.from_model_file(py3langid.langid.MODEL_FILE).labels) == LANGUAGES
    assert languages(TEXTS) == languages(TEXTS[::-1])[::-1]
    # The beginning decides, however long a text is.
    assert languages([TEXTS[1] * 30 + " the food was cold" * 100_000]) == ["de"]


def test_intervals_hold_the_figures_of_each_slice() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 200)
    probabilities = np.eye(2)[np.where(random.random(200) < 0.8, truth, 1 - truth)]
    slices = [Slice("all", np.ones(200, dtype=bool), "a rule"), Slice("few", np.arange(200) < 20)]
    own = scores(truth, probabilities, labels=["a", "b"], slices=slices, version=None)
    found = with_intervals(own, slices, truth, probabilities.argmax(axis=1), n_classes=2, confidence=0.95)

    widths = []
    for part in found["slices"]:
        for name in ("accuracy", "macro_f1"):
            bounds = part[f"{name}_interval"]
            assert bounds["low"] < part[name] < bounds["high"]
            widths.append(bounds["high"] - bounds["low"])
    assert widths[2] > 2 * widths[0]
    assert widths[3] > 2 * widths[1]
    assert [part.get("rule") for part in found["slices"]] == ["a rule", None]
