"""A computed order is a permutation, is told by nobody from chance, and never changes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from include.classifier.shards.permutation import Permutation


def order(size: int, *key: int) -> list[int]:
    return Permutation(size, *key)(np.arange(size)).tolist()


@pytest.mark.parametrize("size", [*range(1, 70), 255, 256, 257, 1023, 4096, 4097, 65_537])
def test_every_number_comes_once(size: int) -> None:
    assert sorted(order(size, 7, 0)) == list(range(size))


def test_single_positions_are_answered_as_all_of_them_are() -> None:
    whole = order(1000, 3, 4)
    chosen = random.Random(1).sample(range(1000), 50)

    assert Permutation(1000, 3, 4)(np.array(chosen)).tolist() == [whole[position] for position in chosen]


def test_the_key_decides_and_nothing_else() -> None:
    orders = {tuple(order(100, seed, epoch)) for seed in range(10) for epoch in range(10)}

    assert len(orders) == 100
    assert order(100, 5, 6) == order(100, 5, 6)


def test_the_order_is_the_same_for_ever() -> None:
    """A training that goes on with another NumPy, or another release of this project, must meet the same rows."""
    assert order(12, 42, 0) == [8, 0, 10, 5, 4, 3, 7, 6, 11, 2, 1, 9]
    assert Permutation(10**12, 42, 1)(np.array([0, 1, 10**12 - 1])).tolist() == [
        630815605488,
        243603472259,
        16437968255,
    ]


def test_each_number_stands_at_each_position_equally_often() -> None:
    size, keys = 11, 4400
    counts = np.zeros((size, size))
    for key in range(keys):
        counts[np.arange(size), order(size, 1, key)] += 1
    expected = keys / size
    statistic = ((counts - expected) ** 2 / expected).sum()

    degrees = (size - 1) ** 2
    assert abs(statistic - degrees) < 5 * (2 * degrees) ** 0.5


def test_neighbours_are_parted() -> None:
    size = 100_000
    found = np.array(order(size, 1, 2))

    # Of a random permutation one pair on average stays together in this way, and 16 or more as good as never.
    assert (np.diff(found) == 1).sum() < 16
    assert abs(np.corrcoef(np.arange(size), found)[0, 1]) < 5 / size**0.5
