"""How sure the difference of two classifiers is that were asked the same rows.

The interval is a paired bootstrap: rows are drawn again, each with the answers of both models, and the models are
compared anew on every draw (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). A row counts
only by its true class and both predicted ones, so a draw of rows is a multinomial draw over the combinations of these
three: exact, and thousands of draws cost no more than a few multiplications of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.classifier.metrics import Classes

RESAMPLES = 2000

#: Below so many discordant rows McNemar's test is exact; chi-square is an approximation for many.
_EXACT_BELOW = 25

#: Numbers in one block of draws: 32 MiB of them.
_BLOCK = 1 << 22


class Interval(NamedTuple):
    """A difference, first minus second model, with the bounds of its interval."""

    difference: float
    low: float
    high: float


class Differences(NamedTuple):
    """The differences of two models' figures.

    :param f1: of each class, in the order of the classes.
    """

    macro_f1: Interval
    accuracy: Interval
    f1: list[Interval]


class McNemar(NamedTuple):
    """Rows that only one of both labels rightly, and the two-sided p-value of "both are right equally often"."""

    first_only: int
    second_only: int
    p_value: float


def differences(
    truth: Classes,
    first: Classes,
    second: Classes,
    *,
    n_classes: int,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    added_rows: float = 1.0,
    seed: int = 0,
) -> Differences:
    """Compare two models, with percentile intervals of a paired bootstrap. The same rows give the same intervals.

    Where both models hardly differ, the rows at hand cannot show how often they do: without a single row that tells
    them apart the interval would be nothing but 0, however few rows there are. So each side gets added rows that only
    it labels rightly, spread over the true classes, before rows are drawn. Agresti and Min, "Simple improved
    confidence intervals for comparing matched proportions", Statistics in Medicine 24, 2005, add two rows to the table
    of matched pairs for the same reason. ``difference`` itself is the one that was measured.

    :param truth: class indices, shape ``(n_rows,)``.
    :param first: classes predicted by the one model, shape ``(n_rows,)``.
    :param second: the same of the other.
    :param confidence: of every two-sided interval, between 0 and 1.
    :param added_rows: for each side; 0 for the plain bootstrap.
    """
    cells = _Cells.count(truth, first, second, n_classes)
    measured = cells.figures(cells.counts[None, :])
    drawn_from = cells.with_rows_added(added_rows) if added_rows else cells
    drawn = np.concatenate([drawn_from.figures(block) for block in drawn_from.draws(len(truth), resamples, seed)])
    tail = (1 - confidence) / 2
    # The added rows pull the draws towards 0; an interval holds what was measured all the same.
    low = np.minimum(np.quantile(drawn, tail, axis=0), measured[0])
    high = np.maximum(np.quantile(drawn, 1 - tail, axis=0), measured[0])
    macro_f1, accuracy, *f1 = (Interval(*bounds) for bounds in np.stack([measured[0], low, high], axis=1).tolist())
    return Differences(macro_f1, accuracy, f1)


def mcnemar(truth: Classes, first: Classes, second: Classes) -> McNemar:
    """Test whether two models are right equally often.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12, 1947; exact binomial for few discordant rows, else chi-square with Edwards' continuity correction.
    """
    first_only = int(((first == truth) & (second != truth)).sum())
    second_only = int(((first != truth) & (second == truth)).sum())
    discordant, fewer = first_only + second_only, min(first_only, second_only)
    if discordant < _EXACT_BELOW:
        tail = sum(math.comb(discordant, count) for count in range(fewer + 1)) / 2**discordant
        return McNemar(first_only, second_only, min(1.0, 2 * tail))
    statistic = max(abs(first_only - second_only) - 1, 0) ** 2 / discordant
    # The upper tail of chi-square with one degree of freedom.
    return McNemar(first_only, second_only, math.erfc(math.sqrt(statistic / 2)))


@dataclass(frozen=True)
class _Cells:
    """The combinations of true and predicted classes that occur, each array of shape ``(n_cells,)``."""

    truth: Classes
    first: Classes
    second: Classes
    counts: NDArray[np.float64]
    n_classes: int

    @classmethod
    def count(cls, truth: Classes, first: Classes, second: Classes, n_classes: int) -> _Cells:
        keys, counts = np.unique((truth * n_classes + first) * n_classes + second, return_counts=True)
        return cls(
            truth=keys // n_classes**2,
            first=keys // n_classes % n_classes,
            second=keys % n_classes,
            counts=counts.astype(np.float64),
            n_classes=n_classes,
        )

    def with_rows_added(self, rows: float) -> _Cells:
        """Return them with so many rows more that only the first model labels rightly, and as many of the second's.

        Each class gets its share; who is wrong takes it for the commonest other class.
        """
        support = np.bincount(self.truth, weights=self.counts, minlength=self.n_classes)
        commonest, second_commonest = np.argsort(-support, kind="stable")[:2]
        right = np.flatnonzero(support)
        wrong = np.where(right == commonest, second_commonest, commonest)
        weights = rows * support[right] / support.sum()
        return _Cells(
            truth=np.concatenate([self.truth, right, right]),
            first=np.concatenate([self.first, right, wrong]),
            second=np.concatenate([self.second, wrong, right]),
            counts=np.concatenate([self.counts, weights, weights]),
            n_classes=self.n_classes,
        )

    def draws(self, rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
        """Yield how often each cell was drawn, in blocks of shape ``(n_draws, n_cells)``."""
        random = np.random.default_rng(seed)
        shares = self.counts / self.counts.sum()
        at_once = max(1, _BLOCK // len(shares))
        for start in range(0, resamples, at_once):
            size = min(at_once, resamples - start)
            yield random.multinomial(rows, shares, size=size).astype(np.float64)

    def figures(self, draws: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the differences of macro F1, accuracy and each class's F1 in each draw.

        :param draws: rows in each cell, shape ``(n_draws, n_cells)``.
        :return: shape ``(n_draws, 2 + n_classes)``.
        """
        one_hot: NDArray[np.float64] = np.eye(self.n_classes)
        support = draws @ one_hot[self.truth]

        def figures(predicted: Classes) -> NDArray[Any]:
            hits = draws @ (one_hot[self.truth] * (predicted == self.truth)[:, None])
            total = support + draws @ one_hot[predicted]
            # As in metrics.py: what is in neither rows nor predictions has no F1.
            f1 = 2 * hits / np.maximum(total, 1)
            macro_f1 = f1.sum(axis=1) / (total > 0).sum(axis=1)
            return np.column_stack([macro_f1, hits.sum(axis=1) / support.sum(axis=1), f1])

        return figures(self.first) - figures(self.second)
