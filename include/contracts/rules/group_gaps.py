"""Says whether a model serves groups of users alike: how far accuracies of slices lie apart, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from include.contracts.kinds.text_classifier import SliceScores
from include.contracts.rules.non_inferiority import ROUNDING, Check, figure


class Gap(NamedTuple):
    """Accuracy of the better slice minus that of the worse one, and the bounds of its interval."""

    better: str
    worse: str
    difference: float
    low: float
    high: float


def group_gaps(
    parts: Mapping[str, SliceScores], groups: Mapping[str, Sequence[str]], *, most: float, least_rows: int
) -> Iterator[Check]:
    """Yield a condition for each set of slices: a gap between two of them that is shown to be larger is a no.

    So is a slice of too few rows: what was asked for cannot be shown.

    :param parts: slices of the candidate by their names.
    :param groups: name -> slices that are to be served alike.
    :param most: the largest gap that is allowed.
    :param least_rows: that a slice must have.
    """
    for name, slices in groups.items():
        short = [_short(parts.get(each), each, least_rows) for each in slices]
        missing = [line for line in short if line]
        if missing:
            yield Check(False, f"groups of {name}: {', '.join(missing)}")
            continue
        found = max((gap_of(parts[one], parts[other]) for one, other in combinations(slices, 2)), key=_surely)
        bounds = f"{figure(found.low, most, sign='+')} to {figure(found.high, most, sign='+')}"
        yield Check(
            found.low <= most + ROUNDING,
            f"groups of {name}: accuracy of {found.better!r} is {figure(found.difference, most)} above that of "
            f"{found.worse!r} (interval {bounds}), at most {most:g} is allowed",
        )


def gap_of(one: SliceScores, other: SliceScores) -> Gap:
    """Return how far two slices without a row in common lie apart.

    Newcombe's hybrid score interval from the Wilson intervals of both. Source: "Interval estimation for the difference
    between independent proportions", Statistics in Medicine 17, 1998, method 10.
    """
    better, worse = (one, other) if one.accuracy >= other.accuracy else (other, one)
    difference = better.accuracy - worse.accuracy
    ours, theirs = better.accuracy_interval, worse.accuracy_interval
    if ours is None or theirs is None:  # of a document before there were intervals: nothing is shown
        return Gap(better.name, worse.name, difference, -1.0, 1.0)
    below = math.hypot(better.accuracy - ours.low, theirs.high - worse.accuracy)
    above = math.hypot(ours.high - better.accuracy, worse.accuracy - theirs.low)
    return Gap(better.name, worse.name, difference, difference - below, difference + above)


def _short(part: SliceScores | None, name: str, least_rows: int) -> str:
    rows = part.rows if part else 0
    return "" if rows >= least_rows else f"{name!r} has {rows or 'no'} evaluation rows, {least_rows} are needed to tell"


def _surely(gap: Gap) -> tuple[float, float]:
    return gap.low, gap.difference
