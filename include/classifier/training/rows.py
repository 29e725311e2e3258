"""What a model is trained on, however many rows that are: in memory, or stored in files beside the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from include.classifier.progress import report
from include.classifier.serving.text import clean, tokenise
from include.classifier.shards.reading import StoredRows
from include.classifier.training.processes.peers import ALONE, Peers

if TYPE_CHECKING:
    from include.classifier.training.base_model import BaseModel
    from include.contracts.settings import TrainingConfig

#: Share of the training rows that choose the epoch, and the most rows that are spent on it.
VALIDATION_SHARE = 0.1
MAX_VALIDATION_ROWS = 10_000

#: Rows are weighted by class when the largest class has more than this many times the rows of the smallest.
IMBALANCE = 1.5

Encoded = list[dict[str, Any]]


class HeldOut(NamedTuple):
    """Rows that are not trained on but judge: a share of each class, at least one and never a class's only row.

    They come out of the training data. The evaluation rows take no part in any choice, so their scores stay honest.
    """

    seed: int
    share: float = VALIDATION_SHARE

    @classmethod
    def asked_by(cls, settings: TrainingConfig) -> HeldOut | None:
        """Return the rows that choose the epoch, where the settings ask for that."""
        return cls(settings.seed) if settings.early_stopping_patience else None

    def mask(self, classes: np.ndarray) -> np.ndarray:
        """Return which rows they are, bool, of the same shape as the rows' classes, ``(n_rows,)``."""
        mask = np.zeros(len(classes), dtype=bool)
        values, counts = np.unique(classes, return_counts=True)
        for value, chosen in zip(values, self.of_classes(counts.tolist()), strict=True):
            mask[np.flatnonzero(classes == value)[chosen]] = True
        return mask

    def of_classes(self, counts: Sequence[int]) -> list[np.ndarray]:
        """Return the same rows where only the numbers of rows are known.

        :param counts: rows of each class, in the order of the classes.
        :return: for each class which of its rows are chosen, counted from 0 in the order of the rows, int64.
        """
        share = min(self.share, MAX_VALIDATION_ROWS / sum(counts))
        random = np.random.default_rng(self.seed)
        return [
            random.choice(count, size=max(1, int(count * share)), replace=False) if count > 1 else np.empty(0, np.int64)
            for count in counts
        ]


class Prepared(NamedTuple):
    """Rows as a model reads them."""

    training: Encoded | StoredRows  #: ``input_ids`` and ``labels`` of each row.
    validation: Encoded  #: Of the rows that choose the epoch; empty for none.
    class_weights: list[float] | None  #: Shape ``(n_classes,)``; ``None`` weighs all rows alike.


class TrainingRows(Protocol):
    """Rows to train on.

    Each kind takes ``held_out``: the rows that judge, whatever the settings say; default: those that they ask for.
    """

    def __len__(self) -> int:
        """Return how many there are."""

    def texts(self) -> Sequence[str]:
        """Return cleaned texts to make a vocabulary of, and to try a base model with: all of them, or a sample."""

    def prepare(self, base: BaseModel, settings: TrainingConfig, n_classes: int, peers: Peers = ALONE) -> Prepared:
        """Tokenise them, and hold out those that choose the epoch where the settings ask for that.

        :param peers: the processes that train together; each of them calls this.
        """

    def as_document(self) -> dict[str, Any]:
        """Return what another process finds them by, as JSON writes it."""


class RowsInMemory:
    """Rows that are there as lists.

    :param texts: as users write them; shape ``(n_rows,)``.
    :param classes: from 0, shape ``(n_rows,)``.
    """

    def __init__(self, texts: Sequence[str], classes: Sequence[int], *, held_out: HeldOut | None = None) -> None:
        self._given = texts
        self._held_out = held_out
        self._classes = np.asarray(classes, dtype=np.int64)
        self._cleaned: list[str] = []

    def __len__(self) -> int:
        return len(self._given)

    def texts(self) -> Sequence[str]:
        """Return all of them, cleaned."""
        self._cleaned = self._cleaned or [clean(text) for text in self._given]
        return self._cleaned

    def as_document(self) -> dict[str, Any]:
        """Return all of them."""
        return {"texts": list(self._given), "classes": self._classes.tolist()}

    def prepare(self, base: BaseModel, settings: TrainingConfig, n_classes: int, peers: Peers = ALONE) -> Prepared:
        """Tokenise them into lists."""
        rows = self._encode(base)
        out = np.zeros(len(rows), dtype=bool)
        if held_out := self._held_out or HeldOut.asked_by(settings):
            out = held_out.mask(self._classes)
        return Prepared(
            [row for row, is_out in zip(rows, out, strict=True) if not is_out],
            [row for row, is_out in zip(rows, out, strict=True) if is_out],
            class_weights(self._classes[~out], n_classes),
        )

    def _encode(self, base: BaseModel) -> Encoded:
        texts = self.texts()
        tokens = tokenise(base.tokenizer, texts, base.max_length)
        report_truncated(sum(tokens.truncated), len(texts), base)
        return [
            {"input_ids": ids, "labels": int(label)} for ids, label in zip(tokens.input_ids, self._classes, strict=True)
        ]


def report_truncated(truncated: int, rows: int, base: BaseModel) -> None:
    """Say how many texts are longer than what the model reads."""
    if truncated:
        report(f"train: {truncated} of {rows} texts have more than {base.max_length} tokens and are truncated")


def class_weights(classes: np.ndarray, n_classes: int) -> list[float] | None:
    """Return how much a row of each class counts, or ``None`` when the classes are about even.

    The rule: when the largest class has more than 1.5 times the rows of the smallest, a row of class *c* counts
    ``n_rows / (n_classes * rows_of_c)``, so that all classes count alike in sum.

    :param classes: shape ``(n_rows,)``.
    """
    return weights_of_counts(np.bincount(classes, minlength=n_classes))


def weights_of_counts(counts: np.ndarray) -> list[float] | None:
    """Return the same from how many rows there are of each class, shape ``(n_classes,)``."""
    if counts.max() <= IMBALANCE * counts.min():
        return None
    return [round(float(weight), 6) for weight in counts.sum() / (len(counts) * np.maximum(counts, 1))]
