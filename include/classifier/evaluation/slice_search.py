"""Looks for the slice that a model does worst on, among simple conditions that nobody has named.

As Slice Finder and SliceLine do (Chung et al., "Automated Data Slicing for Model Validation", TKDE 2019; Sagadeeva and
Boehm, "SliceLine", SIGMOD 2021), but for texts, and with one condition at a time. The more conditions are tried, the
worse the worst of them looks by chance. So one half of the rows chooses the slice and the other half measures it: what
is said about it is said about one slice, and its interval is that of a slice that was named beforehand.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.classifier.evaluation.intervals import difference_of_shares, wilson
from include.classifier.metrics import Slice

#: With fewer evaluation rows there is nothing to find that an interval could show.
LEAST_ROWS = 200

#: A slice has so many rows in each half, and at most half of all.
LEAST_SLICE_ROWS = 20

#: Of more rows, so many are looked at.
MOST_ROWS = 50_000

#: The commonest words, and the commonest pairs of words, that are tried.
MOST_WORDS, MOST_PAIRS = 200, 100

#: A condition with so much of a slice that has a name is that slice again (rows of both by rows of either).
_SAME_SLICE = 0.8

_LENGTHS = 5
_CHARACTERS_OF_A_SCRIPT = 200
#: What a word is, as for the baseline.
_WORDS = {"token_pattern": r"(?u)\b\w+\b"}
_DIGIT = re.compile(r"\d")
_ADDRESS = re.compile(r"https?://|www\.|\S@\S+\.\S")


class Condition(NamedTuple):
    """What the rows of a slice have in common.

    :param description: in words, without anything of a text.
    :param word: a word, or two, of users' texts.
    """

    kind: Literal["length", "script", "sign", "word", "pair"]
    description: str
    word: str | None = None


class Conditions(NamedTuple):
    """Conditions that are tried.

    :param rows: which rows fulfil each, shape ``(n_rows, n_conditions)``.
    """

    tried: list[Condition]
    rows: NDArray[np.bool_]


def worst_slice(
    texts: Sequence[str], correct: NDArray[np.bool_], named: Sequence[Slice], *, confidence: float = 0.95
) -> dict[str, Any] | None:
    """Return the slice that the model does worst on, as ``worst_slice`` in the schema of ``candidate.json``.

    :param texts: cleaned texts.
    :param correct: whether the model labels each rightly, shape (rows,).
    :param named: slices that are reported anyway.
    :param confidence: of both intervals.
    :return: ``None`` where the rows are too few, or no condition has enough of them.
    """
    if len(texts) < LEAST_ROWS:
        return None
    chosen = np.arange(len(texts))
    if len(texts) > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(len(texts), MOST_ROWS, replace=False))
    conditions = conditions_of([texts[row] for row in chosen])
    others = _without([part.mask[chosen] for part in named], conditions)
    return find_worst(others, correct[chosen], confidence=confidence)


def find_worst(
    conditions: Conditions, correct: NDArray[np.bool_], *, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any] | None:
    """Choose the worst condition by one half of the rows, and measure it on the other.

    The first half chooses what is surest to be far below the other rows: the lowest upper bound of the difference.

    :param correct: shape ``(n_rows,)``.
    :param seed: which rows are in which half.
    """
    in_first = np.zeros(len(correct), dtype=bool)
    in_first[np.random.default_rng(seed).permutation(len(correct))[: len(correct) // 2]] = True
    first, second = (_Counts.of(conditions.rows[half], correct[half]) for half in (in_first, ~in_first))
    enough = (first.rows >= LEAST_SLICE_ROWS) & (second.rows >= LEAST_SLICE_ROWS)
    enough &= (first.other_rows >= LEAST_SLICE_ROWS) & (second.other_rows >= LEAST_SLICE_ROWS)
    if not enough.any():
        return None
    upper = difference_of_shares(first.hits, first.rows, first.other_hits, first.other_rows, confidence).high
    place = int(np.where(enough, upper, np.inf).argmin())
    hits, rows, other_hits, other_rows = (int(column[place]) for column in second)
    own = wilson(hits, rows, confidence)
    change = difference_of_shares(hits, rows, other_hits, other_rows, confidence)
    condition = conditions.tried[place]
    return {
        "kind": condition.kind,
        "description": condition.description,
        "word": condition.word,
        "tried": int(enough.sum()),
        "rows": int(conditions.rows[:, place].sum()),
        "measured_rows": rows,
        "accuracy": hits / rows,
        "accuracy_interval": {"low": float(own.low), "high": float(own.high)},
        "accuracy_elsewhere": other_hits / other_rows,
        "difference": {
            "difference": hits / rows - other_hits / other_rows,
            "low": max(-1.0, float(change.low)),
            "high": min(1.0, float(change.high)),
        },
        "confidence": confidence,
        "stands_out": bool(change.high < 0),
    }


class _Counts(NamedTuple):
    """Rows of each condition and all others, and how many of them are labelled rightly; shape ``(n_conditions,)``."""

    hits: NDArray[np.int64]
    rows: NDArray[np.int64]
    other_hits: NDArray[np.int64]
    other_rows: NDArray[np.int64]

    @classmethod
    def of(cls, conditions: NDArray[np.bool_], correct: NDArray[np.bool_]) -> _Counts:
        rows, hits = conditions.sum(axis=0), conditions[correct].sum(axis=0)
        return cls(hits, rows, int(correct.sum()) - hits, len(correct) - rows)


def conditions_of(texts: Sequence[str]) -> Conditions:
    """Return the conditions that some texts give: length, script, signs, and their commonest words and pairs of words.

    No label has a part in it. What more than half of the texts fulfil is no slice of them.
    """
    found = [*_lengths(texts), *_scripts(texts), *_signs(texts), *_words(texts, 1), *_words(texts, 2)]
    kept = [(condition, rows) for condition, rows in found if 2 * LEAST_SLICE_ROWS <= rows.sum() <= len(texts) // 2]
    rows = [rows for _, rows in kept]
    return Conditions(
        [condition for condition, _ in kept],
        np.column_stack(rows) if rows else np.zeros((len(texts), 0), dtype=bool),
    )


_Found = Iterator[tuple[Condition, NDArray[np.bool_]]]


def _lengths(texts: Sequence[str]) -> _Found:
    words = np.array([len(text.split()) for text in texts])
    shares = np.arange(1, _LENGTHS) / _LENGTHS
    bounds = sorted({int(bound) for bound in np.quantile(words, shares, method="inverted_cdf")})
    yield Condition("length", f"up to {bounds[0]:,} words"), words <= bounds[0]
    for low, high in pairwise(bounds):
        yield Condition("length", f"{low + 1:,} to {high:,} words"), (words > low) & (words <= high)
    yield Condition("length", f"more than {bounds[-1]:,} words"), words > bounds[-1]


def _scripts(texts: Sequence[str]) -> _Found:
    scripts = np.array([_script(text) for text in texts])
    for script in np.unique(scripts):
        description = f"written in {script.capitalize()} letters" if script else "without a letter"
        yield Condition("script", description), scripts == script


def _script(text: str) -> str:
    """Return the script of most of a text's first letters, empty without letters."""
    if text.isascii():
        return "LATIN" if any(map(str.isalpha, text)) else ""
    counts: dict[str, int] = {}
    for character in text[:_CHARACTERS_OF_A_SCRIPT]:
        if script := _script_of(character):
            counts[script] = counts.get(script, 0) + 1
    return max(sorted(counts), key=lambda script: counts[script]) if counts else ""


@lru_cache(maxsize=4096)
def _script_of(character: str) -> str:
    return unicodedata.name(character, "").split(" ", 1)[0].split("-", 1)[0] if character.isalpha() else ""


def _signs(texts: Sequence[str]) -> _Found:
    signs: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("with a digit", lambda text: _DIGIT.search(text) is not None),
        ("with a web or mail address", lambda text: _ADDRESS.search(text) is not None),
        ("in capital letters", lambda text: text.isupper()),
        ("with a question mark", lambda text: "?" in text),
        ("with an exclamation mark", lambda text: "!" in text),
    )
    for description, holds in signs:
        yield Condition("sign", description), np.array([holds(text) for text in texts], dtype=bool)


def _words(texts: Sequence[str], length: Literal[1, 2]) -> _Found:
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        binary=True,
        ngram_range=(length, length),
        **_WORDS,
        min_df=2 * LEAST_SLICE_ROWS,
        max_df=0.5,
        max_features=MOST_WORDS if length == 1 else MOST_PAIRS,
    )
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError:  # no word is common, or there are none
        return
    made = (
        Condition("word", "with a common word") if length == 1 else Condition("pair", "with two common words in a row")
    )
    for index, word in enumerate(vectorizer.get_feature_names_out()):
        rows = np.zeros(len(texts), dtype=bool)
        rows[matrix[:, [index]].nonzero()[0]] = True
        yield made._replace(word=str(word)), rows


def _without(named: Sequence[NDArray[np.bool_]], conditions: Conditions) -> Conditions:
    """Return the conditions that are not the same rows as a slice with a name."""
    rows = conditions.rows
    kept = np.ones(rows.shape[1], dtype=bool)
    for mask in named:
        both, either = (rows & mask[:, None]).sum(axis=0), (rows | mask[:, None]).sum(axis=0)
        kept &= both < _SAME_SLICE * either
    return Conditions([each for each, keep in zip(conditions.tried, kept, strict=True) if keep], rows[:, kept])
