"""Intervals hold what they should hold, about as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from include.classifier.evaluation.intervals import difference_of_shares, macro_f1_interval, wilson


def test_shares_have_the_intervals_of_the_papers() -> None:
    # Wilson's for 81 of 263 and the others of Newcombe 1998, table I and II.
    found = wilson([81, 15, 0, 1], [263, 148, 20, 29])
    assert (
        pytest.approx(np.array([[0.2553, 0.3662], [0.0624, 0.1605], [0.0, 0.1611], [0.0061, 0.1718]]), abs=5e-5)
        == np.stack(found).T
    )
    found = difference_of_shares([56, 9, 6, 0], [70, 10, 7, 10], [48, 3, 2, 0], [80, 10, 7, 20])
    assert (
        pytest.approx(np.array([[0.0524, 0.3339], [0.1705, 0.8090], [0.0582, 0.8062], [-0.1611, 0.2775]]), abs=5e-5)
        == np.stack(found).T
    )
    assert np.stack(wilson([0], [0])).T.tolist() == [[0, 1]]


@pytest.mark.parametrize("n_classes, right, rows", [(2, 0.9, 100), (2, 0.98, 200), (5, 0.8, 150)])
def test_macro_f1_is_held_about_as_often_as_said(n_classes: int, right: float, rows: int) -> None:
    cells = np.full((n_classes, n_classes), (1 - right) / (n_classes - 1) / n_classes)
    np.fill_diagonal(cells, right / n_classes)
    random = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        drawn = random.choice(n_classes**2, size=rows, p=cells.ravel())
        low, high = macro_f1_interval(drawn // n_classes, drawn % n_classes, n_classes=n_classes, resamples=300)
        held += low <= right <= high
    assert 88 <= held <= 100


def test_few_rows_without_a_mistake_do_not_show_that_there_is_none() -> None:
    truth = np.array([0, 1] * 15)
    few = macro_f1_interval(truth, truth, n_classes=2)
    assert few.high == 1
    assert 0.7 < few.low < 0.95
    many = macro_f1_interval(np.tile(truth, 50), np.tile(truth, 50), n_classes=2)
    assert many.low > 0.99
    assert few == macro_f1_interval(truth, truth, n_classes=2)
    assert macro_f1_interval(np.array([0]), np.array([1]), n_classes=2).low == 0
