"""Deals the rows of each training step out to passes and processes, so that a step is the same whoever computes it.

One process takes a step over ``batch_size`` rows, with the mean of their losses. Here the same rows in the same order
are dealt out to as many parts as there are passes of all processes, and what each part adds to the gradient is divided
by the weight of the whole step: the sum over all parts is that mean, also in the last step of an epoch, which has fewer
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch  # noqa: TID253  imported by trainer.py, once there is something to train
from torch.nn.functional import cross_entropy  # noqa: TID253
from torch.utils.data import DataLoader, Dataset, Sampler  # noqa: TID253
from transformers.trainer_pt_utils import get_length_grouped_indices  # noqa: TID253

from include.classifier.shards.order import EpochOrder
from include.classifier.shards.reading import StoredRows
from include.classifier.training.processes.peers import Peers

Encoded = Sequence[dict[str, Any]]

#: Of a row that only keeps a process without one in step with the others; PyTorch's losses leave such rows out.
_NO_LABEL = -100


class _Place(NamedTuple):
    """A row in a pass.

    :param counts: false for one that fills a pass without rows.
    :param weight: of all rows of the step.
    """

    row: int
    counts: bool
    weight: float


class SharedSteps(Sampler[list[_Place]]):
    """The passes of one process, in their order: ``accumulation`` of them make a step.

    :param rows: ``input_ids`` and ``labels`` of each row; of stored rows none is held.
    :param batch_size: rows of a whole step.
    :param accumulation: passes of each process for a step.
    :param class_weights: shape ``(n_classes,)``; ``None`` weighs all rows alike.
    """

    def __init__(
        self,
        rows: Encoded | StoredRows,
        *,
        batch_size: int,
        accumulation: int,
        peers: Peers,
        class_weights: Sequence[float] | None,
        seed: int,
    ) -> None:
        self._rows = _Rows(rows)
        self._stored: EpochOrder | None = None
        self._lengths: list[int] = []
        if isinstance(rows, StoredRows):
            self._stored = EpochOrder(rows, batch_rows=batch_size, seed=seed)
            self._labels: Callable[[list[int]], list[int]] = rows.labels
        else:
            self._lengths = [len(row["input_ids"]) for row in rows]
            self._labels = lambda numbers: [rows[number]["labels"] for number in numbers]
        self._weight_of = class_weights
        self._class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self._batch_size = batch_size
        self._accumulation = accumulation
        self._peers = peers
        # Of its own: dropout, which differs between processes, must not decide on the order.
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size) * self._accumulation

    def set_epoch(self, epoch: int) -> None:
        """Take which epoch comes next, from 0."""
        if self._stored:
            self._stored.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[_Place]]:
        self._draw_as_a_loader()
        shares = self._peers.size * self._accumulation
        for step in self._steps():
            weight = float(len(step))
            if self._weight_of is not None:
                weight = sum(self._weight_of[label] for label in self._labels(step))
            for part in range(self._accumulation):
                # One after the other, because they are sorted by length: so all parts take about as long.
                mine = step[part * self._peers.size + self._peers.rank :: shares]
                yield [_Place(row, True, weight) for row in mine] or [_Place(step[0], False, weight)]

    def _steps(self) -> Iterator[list[int]]:
        """Yield the rows of each step of the epoch."""
        if self._stored:
            yield from (batch.tolist() for batch in self._stored.batches(self._stored.epoch))
            return
        order = get_length_grouped_indices(self._lengths, self._batch_size, generator=self._generator)
        for start in range(0, len(order), self._batch_size):
            yield order[start : start + self._batch_size]

    def loader(self, collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]) -> DataLoader[Any]:
        """Return what the Trainer reads; its own would be dealt out a second time.

        :param collate: makes tensors of rows.
        """

        def with_weight(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            return {**collate(rows), "step_weight": torch.tensor(rows[0]["step_weight"], dtype=torch.float32)}

        return DataLoader(self._rows, batch_sampler=self, collate_fn=with_weight, pin_memory=torch.cuda.is_available())

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, step_weight: torch.Tensor) -> torch.Tensor:
        """Return what a pass adds to the loss of its step, times the processes, because their gradients are averaged.

        :param logits: shape ``(rows, n_classes)``.
        :param step_weight: as the loader gave it, of all rows of the step.
        """
        weights = None if self._class_weights is None else self._class_weights.to(logits.device)
        found = cross_entropy(logits.float(), labels, weight=weights, reduction="sum", ignore_index=_NO_LABEL)
        return found / step_weight * self._peers.size

    def has_evaluated(self) -> None:
        """Take that the validation rows were read once."""
        self._draw_as_a_loader()

    @property
    def order(self) -> torch.Tensor:
        """What the order of the next epoch depends on."""
        return self._generator.get_state()

    @order.setter
    def order(self, state: torch.Tensor) -> None:
        self._generator.set_state(state)

    def _draw_as_a_loader(self) -> None:
        """Draw what a loader of PyTorch draws for its workers, so that the order is that of one process."""
        torch.empty((), dtype=torch.int64).random_(generator=self._generator)


class _Rows(Dataset[dict[str, Any]]):
    """Rows as they are asked for by their place."""

    def __init__(self, rows: Encoded | StoredRows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: _Place) -> dict[str, Any]:
        row = self._rows[place.row]
        return {
            "input_ids": row["input_ids"],
            "labels": row["labels"] if place.counts else _NO_LABEL,
            "step_weight": place.weight,
        }
