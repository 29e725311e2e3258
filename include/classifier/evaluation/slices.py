"""Which evaluation rows belong to the slices that a model's YAML names, and how sure their figures are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.classifier.evaluation.intervals import macro_f1_interval, wilson
from include.classifier.metrics import Classes, Slice, length_slices
from include.classifier.progress import report
from include.contracts.kinds.slices import Bounds, SliceRule, folded

#: A language shows in so many characters.
_CHARACTERS_OF_A_LANGUAGE = 1000

#: Scripts that put no space between words, or join endings to them: a keyword is looked for inside of words.
_JOINED_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def slices_of(
    rules: Sequence[SliceRule], texts: Sequence[str], columns: Mapping[str, NDArray[np.bool_]] | None = None
) -> list[Slice]:
    """Return the slices that were named and have rows, and behind them the thirds by length.

    :param texts: cleaned texts.
    :param columns: name of a slice by a column -> its rows, shape (rows,).
    """
    named = [Slice(rule.name, _rows(rule, texts, columns or {}), str(rule)) for rule in rules]
    for part in named:
        if not part.mask.any():
            report(f"evaluate: slice {part.name!r} ({part.rule}) has no evaluation rows")
    names = {part.name for part in named}
    thirds = [third for third in length_slices(texts) if third.name not in names]
    return [part for part in named if part.mask.any()] + thirds


def _rows(rule: SliceRule, texts: Sequence[str], columns: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    if rule.words:
        return _within(np.array([len(text.split()) for text in texts]), rule.words)
    if rule.characters:
        return _within(np.array([len(text) for text in texts]), rule.characters)
    if rule.language:
        return np.array([found == rule.language for found in languages(texts)], dtype=bool)
    if rule.keywords:
        pattern = keyword_pattern(rule.keywords)
        return np.array([pattern.search(folded(text)) is not None for text in texts], dtype=bool)
    return columns[rule.name]


def _within(lengths: NDArray[np.int64], bounds: Bounds) -> NDArray[np.bool_]:
    inside = lengths >= (bounds.at_least or 0)
    return inside if bounds.at_most is None else inside & (lengths <= bounds.at_most)


def keyword_pattern(keywords: Sequence[str]) -> re.Pattern[str]:
    """Return what finds one of some words or phrases in a folded text; they are looked for as whole words."""
    return re.compile("|".join(_bounded(folded(keyword)) for keyword in keywords))


def _bounded(keyword: str) -> str:
    begin, end = ("" if _joins(keyword[place]) else r"\b" for place in (0, -1))
    return f"{begin}{re.escape(keyword)}{end}"


def _joins(character: str) -> bool:
    """Tell whether a word may go on beyond this character: there is no border to look for."""
    is_part_of_a_word = character.isalnum() or character == "_"
    return not is_part_of_a_word or unicodedata.name(character, "").startswith(_JOINED_SCRIPTS)


def languages(texts: Sequence[str]) -> list[str]:
    """Return the language that each text is most likely written in, as ISO 639 has it; the same for the same text.

    Offline: py3langid has its model in itself (naive Bayes over the bytes of 139 languages; Lui and Baldwin,
    "langid.py: An Off-the-shelf Language Identification Tool", ACL 2012). A word or two are often too little to tell.
    """
    import py3langid

    known: dict[str, str] = {}
    found = []
    for text in texts:
        begin = text[:_CHARACTERS_OF_A_LANGUAGE]
        if begin not in known:
            known[begin] = str(py3langid.classify(begin)[0])
        found.append(known[begin])
    return found


def with_intervals(
    scores: Mapping[str, Any],
    slices: Sequence[Slice],
    truth: Classes,
    predicted: Classes,
    *,
    n_classes: int,
    confidence: float,
) -> dict[str, Any]:
    """Return the scores of a model with the intervals of each slice.

    :param scores: as :func:`include.classifier.metrics.scores` returns them for these slices.
    :param truth: class indices, shape ``(n_rows,)``; ``predicted`` the same.
    :param confidence: of every interval.
    """

    def intervals(part: Slice) -> dict[str, Any]:
        true, found = truth[part.mask], predicted[part.mask]
        shares = wilson((true == found).sum(), len(true), confidence)
        macro_f1 = macro_f1_interval(true, found, n_classes=n_classes, confidence=confidence)
        return {
            "accuracy_interval": {"low": float(shares.low), "high": float(shares.high)},
            "macro_f1_interval": macro_f1._asdict(),
        }

    return dict(scores) | {
        "slices": [figures | intervals(part) for figures, part in zip(scores["slices"], slices, strict=True)]
    }
