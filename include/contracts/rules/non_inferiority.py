"""Says whether a candidate is no worse than the live model by more than a margin, and how sure that is."""

from __future__ import annotations

from typing import Literal, NamedTuple

#: Two figures that differ by less than this are the same: sums of floats are not exact.
ROUNDING = 1e-9

WhenInconclusive = Literal["reject", "release"]


class Check(NamedTuple):
    """A condition: whether it holds, and what it wanted and got."""

    passed: bool
    line: str


class Bounds(NamedTuple):
    """The interval of a difference, candidate minus live, as it was computed."""

    low: float
    high: float
    confidence: float
    rows: int


class Terms(NamedTuple):
    """What is asked of a difference: see section ``gate`` of a model's YAML."""

    margin: float
    confidence: float
    when_inconclusive: WhenInconclusive


def no_worse(
    name: str,
    value: float,
    live: float,
    bounds: Bounds | None,
    terms: Terms,
    *,
    without_interval: str = "candidate.json has none",
    higher_is_better: bool = True,
    decimals: int = 3,
) -> Check:
    """Compare a figure with the live model's.

    :param name: what people call the figure.
    :param without_interval: why there is none, where there is none; then the measured difference decides.
    :param decimals: of the numbers in the line, at least.
    """
    difference, limit = value - live, -terms.margin if higher_is_better else terms.margin
    slack = ROUNDING * max(1.0, abs(value), abs(live))

    def holds(bound: float) -> bool:
        return bound >= limit - slack if higher_is_better else bound <= limit + slack

    within = holds(difference)
    start = (
        f"{name} {value:.{decimals}f}, live {live:.{decimals}f}, "
        f"difference {figure(difference, limit, sign='+', decimals=decimals)}"
    )
    margin = f"margin {terms.margin:g}"
    if bounds is None:
        return Check(within, f"{start}, {margin}, no interval: {without_interval}")
    shown = interval(bounds.low, bounds.high, bounds.confidence, limit, decimals=decimals)
    line = f"{start}, {shown}, {margin}"
    if bounds.confidence < terms.confidence - ROUNDING:
        return Check(False, f"{line}, {100 * terms.confidence:g} % are asked for; start a new release")
    if not within or holds(bounds.low if higher_is_better else bounds.high):
        return Check(within, line)
    return Check(terms.when_inconclusive == "release", f"{line}, inconclusive: {bounds.rows} rows are too few to tell")


def interval(low: float, high: float, confidence: float, bound: float, *, sign: str = "+", decimals: int = 3) -> str:
    """Return an interval in words, with as many decimals as it takes to see on which side of a bound its ends lie.

    :param sign: empty where it is not one of a difference.
    """
    ends = (figure(end, bound, sign=sign, decimals=decimals) for end in (low, high))
    return f"{100 * confidence:g} % interval {' to '.join(ends)}"


def figure(value: float, bound: float, *, sign: str = "", decimals: int = 3) -> str:
    """Return the value with three decimals, or as many as it takes to see on which side of the bound it lies."""
    enough = (count for count in range(decimals, decimals + 6) if round(value, count) != round(bound, count))
    return f"{value:{sign}.{next(enough, decimals)}f}"
