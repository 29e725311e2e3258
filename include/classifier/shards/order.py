"""The order in which an epoch goes through stored rows: random, and rows of about the same length together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from include.classifier.shards.permutation import Permutation

if TYPE_CHECKING:
    import numpy as np

#: Batches whose rows are sorted by length together, as Transformers' Trainer has it.
_SORTED_BATCHES = 50


class Lengths(Protocol):
    """Rows that know how long they are."""

    def __len__(self) -> int:
        """Return how many there are."""

    def lengths(self, numbers: np.ndarray) -> np.ndarray:
        """Return how many tokens some of them have, shape (rows,)."""


class EpochOrder:
    """Goes through all rows once in each epoch; what PyTorch calls a sampler.

    All rows are permuted, and every fifty batches of them sorted by length, the longest first: little of a batch is
    padding, and which rows meet is left to chance. Transformers' ``group_by_length`` does the same with an array of all
    rows in memory. The order depends on the rows, ``batch_rows``, seed and epoch and on nothing else, so that a
    training may go on at any batch of any epoch, in any number of processes.

    :param batch_rows: rows of one step, over all processes.
    :param seed: not negative.
    """

    def __init__(self, rows: Lengths, *, batch_rows: int, seed: int) -> None:
        self._rows, self._batch_rows, self._seed = rows, batch_rows, seed
        # Of few rows at least four parts, or there would be no chance in which of them meet.
        self._sorted_batches = max(1, min(_SORTED_BATCHES, len(rows) // (batch_rows * 4)))
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that :meth:`__iter__` goes through, from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        for batch in self.batches(self.epoch):
            yield from batch.tolist()

    @property
    def batch_count(self) -> int:
        """Batches of an epoch; the last one may have fewer rows."""
        return -(-len(self._rows) // self._batch_rows)

    def batches(self, epoch: int, *, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the numbers of the rows of each batch that a process computes.

        :param rank: of this process, from 0.
        :param world: processes that share each batch; none of them gets a row that another one gets, and the last batch
            may have nothing for some.
        :param start: batches that are left out, unread.
        """
        import numpy as np

        order = Permutation(len(self._rows), self._seed, epoch)
        part_rows = self._sorted_batches * self._batch_rows
        for begin in range(start // self._sorted_batches * part_rows, len(self._rows), part_rows):
            numbers = order(np.arange(begin, min(begin + part_rows, len(self._rows))))
            numbers = numbers[np.argsort(-self._rows.lengths(numbers), kind="stable")]
            for within in range(0, len(numbers), self._batch_rows):
                if (begin + within) // self._batch_rows >= start:
                    yield numbers[within : within + self._batch_rows][rank::world]
