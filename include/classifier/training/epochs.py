"""What a training tells after each epoch, for whoever compares trainings while they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from include.classifier.metrics import Classes

#: What a held-out row is known by while answers to it are collected.
_NUMBER = "row"


class Epoch(NamedTuple):
    """What the model reached on the held-out rows when an epoch was over.

    :param number: epochs so far; the last may have been a part of one.
    :param selection: what the epoch is chosen by: macro F1, and the log loss among equals.
    :param predicted: class indices, shape ``(n_held_out,)``.
    """

    number: int
    macro_f1: float
    log_loss: float
    selection: float
    predicted: Classes


#: Is told of an epoch; what it raises ends the training.
AfterEpoch: TypeAlias = Callable[[Epoch], None]


def kept(epochs: Sequence[Epoch], *, keeps_best: bool) -> Epoch:
    """Return the epoch whose weights a training keeps.

    :param epochs: so far, at least one.
    :param keeps_best: whether the held-out rows choose it; without early stopping it is the last.
    """
    return max(epochs, key=lambda epoch: epoch.selection) if keeps_best else epochs[-1]


class TellEpochs:
    """Says what the model answers to the held-out rows at the end of each epoch.

    The Trainer reads them in an order of its own, which differs from epoch to epoch: rows of about the same length
    together. So each carries its number, which the collator sees.

    :param after_epoch: is told.
    :param scores: returns the scores of a ``transformers.EvalPrediction``.
    """

    def __init__(self, after_epoch: AfterEpoch, scores: Callable[[Any], dict[str, float]]) -> None:
        self._after_epoch = after_epoch
        self._scores = scores
        self._read: list[int] = []
        self._epochs = 0

    def numbered(self, validation: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows with their numbers."""
        return [row | {_NUMBER: number} for number, row in enumerate(validation)]

    def collator(self, collate: Callable[[list[dict[str, Any]]], Any]) -> Callable[[list[dict[str, Any]]], Any]:
        """Return a collator that notes which rows are read."""

        def noting(rows: list[dict[str, Any]]) -> Any:
            self._read.extend(row[_NUMBER] for row in rows if _NUMBER in row)
            return collate(rows)

        return noting

    def scores(self, prediction: Any) -> dict[str, float]:
        """Return the scores, and tell of the epoch with the answers in the order of the rows."""
        found = np.asarray(prediction.predictions).argmax(axis=-1)
        predicted = np.empty(len(found), dtype=np.int64)
        predicted[self._read] = found
        self._read.clear()
        self._epochs += 1
        scores = self._scores(prediction)
        figures = {name: float(scores[name]) for name in ("macro_f1", "log_loss", "selection")}
        self._after_epoch(Epoch(number=self._epochs, **figures, predicted=predicted))
        return scores
