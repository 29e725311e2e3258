"""How often a live model was right, as far as labels have arrived: joined by request id, with an interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from include.contracts.monitoring.drift import LiveAccuracy
from include.contracts.monitoring.labels import Joined, Labelled
from include.monitoring.statistics import wilson

#: Of every interval.
CONFIDENCE = 0.95
#: Versions of which something is told, the newest.
_MOST_VERSIONS = 10
_MOST_SLICES = 30
#: Lengths in characters at which a slice of texts ends.
_LENGTHS = (100, 400)


def accuracies(joined: Joined, *, min_labels: int, live: str) -> list[LiveAccuracy]:
    """Return the accuracy of each version and slice with enough rows, the newest version first.

    :param live: the version that has answered where nobody says which.
    """
    counts: Mapping[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for each in joined.rows:
        version = each.request.version or live
        for name in ("", *_slices(each)):
            counts[version, name][0] += 1
            counts[version, name][1] += each.is_right
    versions = sorted({version for version, _ in counts}, reverse=True)[:_MOST_VERSIONS]
    found = []
    for version in versions:
        names = sorted((name for of, name in counts if of == version), key=lambda name: (name != "", name))
        told = [name for name in names if counts[version, name][0] >= min_labels]
        found += [_accuracy(version, name, *counts[version, name]) for name in told[:_MOST_SLICES]]
    return found


def _accuracy(version: str, name: str, rows: int, right: int) -> LiveAccuracy:
    low, high = wilson(right, rows, confidence=CONFIDENCE)
    return LiveAccuracy(version=version, slice=name, rows=rows, right=right, low=low, high=high)


def _slices(each: Labelled) -> Iterator[str]:
    """Yield the slices that a row is in: by its label, and of a text by its length and its script."""
    yield f"label {each.label.label}"[:200]
    characters, script = each.row.features.get("characters"), each.row.features.get("script")
    if isinstance(characters, int | float) and isinstance(script, str):
        yield next(
            (f"up to {end} characters" for end in _LENGTHS if characters <= end), f"over {_LENGTHS[-1]} characters"
        )
        yield f"script {script}"[:200]
