"""How sure the figures of one classifier are: the intervals of a share, of a difference of shares, and of macro F1."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from include.classifier.metrics import Classes, confusion_matrix

RESAMPLES = 2000

#: Numbers in one block of draws: 32 MiB of them.
_BLOCK = 1 << 22


class Bounds(NamedTuple):
    """An interval."""

    low: float
    high: float


class Shares(NamedTuple):
    """Intervals of several shares, each array of shape ``(n,)``."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def wilson(hits: ArrayLike, rows: ArrayLike, confidence: float = 0.95) -> Shares:
    """Return the intervals of shares. Without rows an interval is 0 to 1.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    :param hits: shape ``(n,)``, as is ``rows``.
    :param confidence: of every two-sided interval, between 0 and 1.
    """
    square = _deviations(confidence) ** 2
    counts, found = np.asarray(rows, dtype=np.float64), np.asarray(hits, dtype=np.float64)
    middle = (found + square / 2) / (counts + square)
    share = found / np.maximum(counts, 1)
    width = np.sqrt(square * counts * share * (1 - share) + square**2 / 4) / (counts + square)
    return Shares(np.clip(middle - width, 0, 1), np.clip(middle + width, 0, 1))


def difference_of_shares(
    hits: ArrayLike, rows: ArrayLike, other_hits: ArrayLike, other_rows: ArrayLike, confidence: float = 0.95
) -> Shares:
    """Return the intervals of one share minus another, of different rows.

    Source: Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
    methods", Statistics in Medicine 17, 1998, method 10.

    :param hits: shape ``(n,)``, as all others.
    """
    one, other = wilson(hits, rows, confidence), wilson(other_hits, other_rows, confidence)
    share = np.asarray(hits, dtype=np.float64) / np.maximum(rows, 1)
    other_share = np.asarray(other_hits, dtype=np.float64) / np.maximum(other_rows, 1)
    difference = share - other_share
    return Shares(
        difference - np.hypot(share - one.low, other.high - other_share),
        difference + np.hypot(one.high - share, other_share - other.low),
    )


def macro_f1_interval(
    truth: Classes,
    predicted: Classes,
    *,
    n_classes: int,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bounds:
    """Return the interval of macro F1, from rows that are drawn again. The same rows give the same interval.

    A row counts by its true and its predicted class alone, so a draw of rows is a multinomial draw over the cells of
    the confusion matrix. Few rows without a mistake do not show that there is none among many: before rows are drawn,
    as many right and wrong ones are added as Wilson's interval of a share stands for, two of each at 95 %, spread over
    the true classes (Agresti and Coull, "Approximate is better than exact for interval estimation of binomial
    proportions", The American Statistician 52, 1998).

    :param truth: class indices, shape ``(n_rows,)``; at least one.
    :param predicted: the same.
    :param confidence: of the two-sided interval, between 0 and 1.
    """
    counts = confusion_matrix(truth, predicted, n_classes).astype(np.float64)
    measured = float(_macro_f1(counts[None])[0])
    drawn_from = counts + _added(counts.sum(axis=1), _deviations(confidence) ** 2 / 2)
    cells = np.flatnonzero(drawn_from)
    shares = drawn_from.ravel()[cells] / drawn_from.sum()
    random, found = np.random.default_rng(seed), []
    at_once = max(1, _BLOCK // n_classes**2)
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        drawn = np.zeros((size, n_classes**2))
        drawn[:, cells] = random.multinomial(len(truth), shares, size=size)
        found.append(_macro_f1(drawn.reshape(size, n_classes, n_classes)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail]).tolist()
    # The added rows pull the draws towards the middle; an interval holds what was measured all the same.
    return Bounds(min(low, measured), max(high, measured))


def _added(support: NDArray[np.float64], rows: float) -> NDArray[np.float64]:
    """Return so many right rows and as many wrong ones: each class its share, taken for the commonest other class."""
    added = np.zeros((len(support), len(support)))
    commonest, second_commonest = np.argsort(-support, kind="stable")[:2]
    for true in np.flatnonzero(support):
        weight = rows * support[true] / support.sum()
        added[true, true] += weight
        added[true, second_commonest if true == commonest else commonest] += weight
    return added


def _macro_f1(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return macro F1 of confusion matrices, shape ``(n, n_classes, n_classes)``, as ``metrics.macro_f1`` has it."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    total = matrices.sum(axis=1) + matrices.sum(axis=2)
    found: NDArray[np.float64] = (2 * hits / np.maximum(total, 1)).sum(axis=1) / (total > 0).sum(axis=1)
    return found


def _deviations(confidence: float) -> float:
    """Return how many standard deviations on both sides of the mean hold such a share of a normal distribution."""
    return NormalDist().inv_cdf((1 + confidence) / 2)
