"""An epoch meets every row once, in whatever processes and from wherever it goes on."""

from __future__ import annotations

import random
from itertools import zip_longest

import numpy as np
import pytest

from include.classifier.shards.order import EpochOrder


class Rows:
    def __init__(self, lengths: np.ndarray) -> None:
        self._lengths = lengths
        self.asked = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def lengths(self, numbers: np.ndarray) -> np.ndarray:
        self.asked += len(numbers)
        return self._lengths[numbers]


def rows(count: int, seed: int = 0) -> Rows:
    return Rows(np.random.default_rng(seed).integers(1, 100, count))


@pytest.mark.parametrize("seed", range(25))
def test_every_row_comes_once_in_each_epoch_whatever_the_processes(seed: int) -> None:
    chance = random.Random(seed)
    count, batch_rows, world = chance.randint(1, 3000), chance.randint(1, 40), chance.randint(1, 8)
    order = EpochOrder(rows(count, seed), batch_rows=batch_rows, seed=seed)
    orders = []
    for epoch in range(3):
        whole = list(order.batches(epoch))
        parts = [list(order.batches(epoch, rank=rank, world=world)) for rank in range(world)]

        assert len(whole) == order.batch_count
        assert all(len(batch) == batch_rows for batch in whole[:-1])
        assert sorted(np.concatenate(whole).tolist()) == list(range(count))
        # No row in two processes, and all of a batch in one of them.
        for batch, *shared in zip(whole, *parts, strict=True):
            assert [number for each in zip_longest(*shared) for number in each if number is not None] == batch.tolist()
        start = chance.randint(0, len(whole))
        resumed = list(order.batches(epoch, start=start))
        assert [each.tolist() for each in resumed] == [each.tolist() for each in whole[start:]]
        order.set_epoch(epoch)
        orders.append(list(order))
        assert orders[-1] == np.concatenate(whole).tolist()
    assert count < 8 or orders[0] != orders[1] != orders[2]
    assert orders[2] == list(_at(EpochOrder(rows(count, seed), batch_rows=batch_rows, seed=seed), 2))
    assert count < 8 or orders[0] != list(EpochOrder(rows(count, seed), batch_rows=batch_rows, seed=seed + 1))


def _at(order: EpochOrder, epoch: int) -> EpochOrder:
    order.set_epoch(epoch)
    return order


def test_rows_of_about_the_same_length_meet() -> None:
    lengths = np.random.default_rng(1).integers(1, 100, 20_000)
    order = EpochOrder(Rows(lengths), batch_rows=16, seed=1)

    padded = sum(len(batch) * lengths[batch].max() for batch in order.batches(0))

    assert padded < 1.05 * lengths.sum()


def test_going_on_late_in_an_epoch_reads_nothing_of_what_was_before() -> None:
    found = rows(100_000)
    order = EpochOrder(found, batch_rows=10, seed=1)

    next(order.batches(0, start=9000))

    assert found.asked == 500


def test_an_epoch_is_read_as_it_is_needed() -> None:
    found = rows(100_000)

    next(iter(EpochOrder(found, batch_rows=10, seed=1)))

    assert found.asked == 500
