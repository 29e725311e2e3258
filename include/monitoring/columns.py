"""The features of many rows as columns: numbers or categories, the same for the reference and for the requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from include.monitoring.statistics import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of one row; what is not there is missing.
Features: TypeAlias = Mapping[str, float | int | str]

#: Categories of the reference that count by themselves; the others are one.
MOST_CATEGORIES = 20
#: Columns that are compared, the most frequent ones of the reference.
MOST_COLUMNS = 200
#: In the place of rarer categories and of those that the reference does not have; of rows without a value.
OTHER, MISSING = "(other)", "(missing)"
#: Features that the model's answer has, beside those of its input.
LABEL, CONFIDENCE = "predicted label", "confidence"
#: Of a row that has a column which the reference does not have.
UNKNOWN_COLUMNS = "unknown columns"


@dataclass(frozen=True, slots=True)
class Row:
    """What is compared of one row.

    :param features: of its input.
    :param weight: one over the rows of its request, so that a request counts once.
    """

    features: Features
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Column:
    """One feature on one side.

    :param sample: numbers, or indices into :attr:`names`; of numbers without the rows where it is missing.
    :param names: of the categories; empty for numbers.
    """

    kind: Literal["number", "category"]
    sample: Sample
    names: Sequence[str] = ()


def pair(reference: Sequence[Row], window: Sequence[Row]) -> dict[str, tuple[Column, Column]]:
    """Return each feature of the reference on both sides.

    A feature whose values are numbers nearly everywhere is one of numbers; where it is missing is a second feature,
    when it is missing anywhere.
    """
    counts = Counter(name for row in reference for name in row.features)
    found: dict[str, tuple[Column, Column]] = {}
    for name in sorted(name for name, _ in counts.most_common(MOST_COLUMNS)):
        values = [row.features[name] for row in reference if name in row.features]
        if sum(isinstance(value, int | float) for value in values) >= 0.95 * len(values):
            both = _numbers(reference, name), _numbers(window, name)
            if all(len(each.sample.values) for each in both):
                found[name] = both
            missing = [_categories(side, _is_missing(side, name), ["there", MISSING]) for side in (reference, window)]
            if any(each.sample.values.any() for each in missing):
                found[f"{name}: missing"] = missing[0], missing[1]
        else:
            names = [each for each, _ in Counter(map(str, values)).most_common(MOST_CATEGORIES)]
            names = [*names, OTHER, MISSING]
            found[name] = _named(reference, name, names), _named(window, name, names)
    unknown = [_has_unknown(side, counts) for side in (reference, window)]
    if any(unknown[1]):
        names = ["none", UNKNOWN_COLUMNS]
        found[UNKNOWN_COLUMNS] = _categories(reference, unknown[0], names), _categories(window, unknown[1], names)
    return found


def pair_what_is_there(reference: Sequence[Row], window: Sequence[Row]) -> dict[str, tuple[Column, Column]]:
    """Return each feature that both sides have, of the rows that have it."""
    found: dict[str, tuple[Column, Column]] = {}
    for name in sorted({name for row in reference for name in row.features}):
        sides = [
            [Row({name: row.features[name]}, row.weight) for row in side if name in row.features]
            for side in (reference, window)
        ]
        if all(sides):
            found |= pair(sides[0], sides[1])
    return found


def in_words(column: Column) -> str:
    """Return a feature's values for people: quartiles of numbers, the largest shares of categories."""
    if column.kind == "number":
        low, middle, high = (quantile(column.sample, share) for share in (0.25, 0.5, 0.75))
        return f"half between {low:.4g} and {high:.4g}, median {middle:.4g}"
    shares = column.sample.shares(len(column.names))
    order = [int(each) for each in np.argsort(-shares, kind="stable")[:3] if shares[each] > 0]
    return ", ".join(f"{column.names[each][:40]} {shares[each]:.1%}" for each in order)


def quantile(sample: Sample, share: float) -> float:
    """Return the smallest value that so much of a sample is at most."""
    order = np.argsort(sample.values, kind="stable")
    sums = np.cumsum(sample.weights[order])
    place = int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12)))
    return float(sample.values[order][min(place, len(order) - 1)])


def _numbers(rows: Sequence[Row], name: str) -> Column:
    pairs = [(float(value), row.weight) for row in rows if isinstance(value := row.features.get(name), int | float)]
    values = np.array([value for value, _ in pairs])
    return Column("number", Sample(values, np.array([weight for _, weight in pairs])))


def _named(rows: Sequence[Row], name: str, names: Sequence[str]) -> Column:
    places = {each: place for place, each in enumerate(names)}
    other, missing = len(names) - 2, len(names) - 1
    values = (row.features.get(name) for row in rows)
    return _categories(rows, [missing if value is None else places.get(str(value), other) for value in values], names)


def _categories(rows: Sequence[Row], places: Iterable[int], names: Sequence[str]) -> Column:
    return Column("category", Sample(np.array(list(places), dtype=np.float64), _weights(rows)), names)


def _is_missing(rows: Sequence[Row], name: str) -> list[int]:
    return [int(not _is_number(row.features.get(name))) for row in rows]


def _has_unknown(rows: Sequence[Row], known: Mapping[str, Any]) -> list[int]:
    return [int(any(name not in known for name in row.features)) for row in rows]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _weights(rows: Sequence[Row]) -> NDArray[np.float64]:
    return np.array([row.weight for row in rows])
