"""Rows are split off evenly and repeatably, and for a seed always the same ones."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest

from include.classifier.data.splitting import _sample, split_off


def test_each_class_gives_the_same_share() -> None:
    classes = np.repeat([0, 1, 2], [100, 50, 10])

    assert np.bincount(classes[split_off(classes, 0.2, seed=1)]).tolist() == [20, 10, 2]


def test_small_classes_stand_on_both_sides() -> None:
    assert sorted(split_off(np.array([0, 0]), 0.01, seed=1)) == [False, True]
    assert sorted(split_off(np.array([0, 0]), 0.99, seed=1)) == [False, True]
    assert split_off(np.array([0]), 0.5, seed=1).tolist() == [False]
    assert split_off(np.array([]), 0.5, seed=1).tolist() == []


def test_seed_decides_which_rows_are_split_off() -> None:
    classes = np.array([0, 1] * 50)

    assert np.array_equal(split_off(classes, 0.2, seed=1), split_off(classes, 0.2, seed=1))
    assert not np.array_equal(split_off(classes, 0.2, seed=1), split_off(classes, 0.2, seed=2))


@pytest.mark.parametrize("rows", [1, 2, 5, 20, 21, 22, 30, 100, 1000, 5000])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.2, 0.5, 0.9, 1.0])
def test_sample_is_that_of_the_standard_library(rows: int, share: float) -> None:
    ours, theirs = random.Random(rows), random.Random(rows)
    for _ in range(2):  # the second one shows that both have drawn as often
        chosen = _sample(ours, rows, round(rows * share))
        assert np.flatnonzero(chosen).tolist() == sorted(theirs.sample(range(rows), round(rows * share)))


def test_rows_chosen_for_a_seed_stay_the_same() -> None:
    chosen = split_off(np.arange(10_000) % 7, 0.2, seed=42)

    assert (
        hashlib.sha256(chosen.tobytes()).hexdigest()
        == "e13a7b7c407666826a6ebcb0140a5ef72c28413bf001c35ae46dce41d3106770"
    )
