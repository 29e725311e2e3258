"""How far two samples lie apart, and whether that is more than chance and more than what is tolerated.

Two things make plain p-values useless here. Of many requests every difference is significant, also one that nobody
would act on; and users never send exactly what a model was trained on. So the question of each test is whether the
distance is *larger than a tolerated one*: its p-value is the chance of a distance so far above the tolerated one when
the true distance is at most that. By the triangle inequality a measured distance lies above the true one by no more
than the distance of the sampling errors, whose distribution is known.

And several features are looked at in each run: :func:`holm` holds the rate of false alarms of the run as a whole,
however the features depend on each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Draws of a Monte Carlo p-value; the smallest is one over this and one.
_DRAWS = 20_000
#: Draws at a time, in cells: bounds the memory.
_BLOCK = 2_000_000
_SEED = 20261130


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of a feature, each with its weight.

    A request counts once, however many rows it has: rows of one request are no independent observations. Weights of
    its rows sum up to 1, and :attr:`size` is the number of requests.

    :param values: numbers, or the indices of categories, shape ``(rows,)``.
    :param weights: shape ``(rows,)``.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.float64]) -> Sample:
        """Return a sample of independent rows."""
        found = np.asarray(values, dtype=np.float64)
        return cls(found, np.ones(len(found)))

    @property
    def size(self) -> float:
        """The number of independent observations."""
        return float(self.weights.sum())

    def shares(self, categories: int) -> NDArray[np.float64]:
        """Return the share of each category, shape ``(categories,)``."""
        counts = np.bincount(self.values.astype(np.int64), weights=self.weights, minlength=categories)
        found: NDArray[np.float64] = counts / counts.sum()
        return found


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two samples lie apart.

    :param distance: between 0 and 1.
    :param p_value: chance of such a distance, or a larger one, when the true one is at most the tolerated one.
    """

    distance: float
    p_value: float


def of_numbers(reference: Sample, window: Sample, *, tolerated: float) -> Distance:
    """Compare numbers by the Kolmogorov-Smirnov distance: the largest difference of the shares up to any value.

    Source: Smirnov, "Table for estimating the goodness of fit of empirical distributions", Ann. Math. Stat. 19, 1948;
    for values that stand there often, such as lengths, the p-value is too large rather than too small.

    :param tolerated: a distance up to which nobody is told, from 0 to 1.
    """
    from scipy.stats import kstwobign

    places = np.unique(np.concatenate([reference.values, window.values]))
    distance = float(np.abs(_shares_up_to(reference, places) - _shares_up_to(window, places)).max())
    size = reference.size * window.size / (reference.size + window.size)
    excess = max(0.0, distance - tolerated)
    return Distance(distance, float(kstwobign.sf(np.sqrt(size) * excess)) if excess else 1.0)


def of_categories(reference: Sample, window: Sample, categories: int, *, tolerated: float) -> Distance:
    """Compare categories by their total variation distance: the share of requests that would have to change.

    The p-value is drawn: from multinomial distributions with the shares that were measured, so often that the error
    of a p-value of 0.001 is below a quarter of it.

    :param categories: how many there are.
    :param tolerated: a distance up to which nobody is told, from 0 to 1.
    """
    first, second = reference.shares(categories), window.shares(categories)
    distance = float(np.abs(first - second).sum() / 2)
    excess = distance - tolerated
    if excess <= 0:
        return Distance(distance, 1.0)
    random = np.random.default_rng(_SEED)
    sizes = max(1, round(reference.size)), max(1, round(window.size))
    reached, at_once = 0, max(1, _BLOCK // categories)
    for start in range(0, _DRAWS, at_once):
        draws = min(at_once, _DRAWS - start)
        errors = [
            random.multinomial(size, shares, size=draws) / size - shares
            for size, shares in zip(sizes, (first, second), strict=True)
        ]
        reached += int((np.abs(errors[0] - errors[1]).sum(axis=1) / 2 >= excess).sum())
    return Distance(distance, (1 + reached) / (1 + _DRAWS))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return adjusted p-values, to be held against the rate of false alarms of the run.

    When nothing has shifted, the chance that one or more are at most the rate is at most the rate, however the features
    depend on each other. Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6,
    1979.
    """
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, (name, value) in enumerate(ordered):
        highest = max(highest, min(1.0, value * (len(ordered) - rank)))
        adjusted[name] = highest
    return adjusted


def wilson(right: int, rows: int, *, confidence: float) -> tuple[float, float]:
    """Return the interval of a share that was counted.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    :param right: rows that count. :param rows: all of them, at least one.
    :param confidence: for example 0.95.
    """
    from statistics import NormalDist

    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = right / rows, z * z / rows
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * float(np.sqrt(share * (1 - share) / rows + spread / (4 * rows)))
    return max(0.0, middle - half), min(1.0, middle + half)


def _shares_up_to(sample: Sample, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of a sample at or below each place."""
    order = np.argsort(sample.values, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(sample.weights[order])])
    found: NDArray[np.float64] = sums[np.searchsorted(sample.values[order], places, side="right")] / sums[-1]
    return found
