"""The distances, and the rate of false alarms that is set."""

from __future__ import annotations

import numpy as np
import pytest

from include.monitoring.statistics import Sample, holm, of_categories, of_numbers, wilson


def test_numbers_are_compared_by_the_largest_difference_of_their_shares() -> None:
    found = of_numbers(Sample.of([1, 2, 3, 4]), Sample.of([3, 4, 5, 6]), tolerated=0.1)

    assert found.distance == 0.5
    assert found.p_value > 0.05  # of four rows nothing can be said


def test_the_p_value_is_that_of_scipy_where_nothing_is_tolerated() -> None:
    from scipy.stats import ks_2samp

    random = np.random.default_rng(1)
    first, second = random.normal(size=400), random.normal(0.2, size=300)

    found = of_numbers(Sample.of(first), Sample.of(second), tolerated=0.0)

    expected = ks_2samp(first, second, method="exact")
    assert found.distance == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.2)


def test_categories_are_compared_by_the_share_that_would_have_to_change() -> None:
    found = of_categories(Sample.of([0] * 80 + [1] * 20), Sample.of([0] * 50 + [1] * 50), 3, tolerated=0.05)

    assert found.distance == pytest.approx(0.3)
    assert found.p_value < 0.01


def test_what_is_tolerated_is_never_told_however_many_requests_there_are() -> None:
    random = np.random.default_rng(2)
    many = 200_000
    numbers = of_numbers(Sample.of(random.random(many)), Sample.of(random.random(many) * 1.08), tolerated=0.1)
    shares = of_categories(
        Sample.of(random.random(many) < 0.5), Sample.of(random.random(many) < 0.59), 2, tolerated=0.1
    )

    assert 0.05 < numbers.distance < 0.1 < 1 == numbers.p_value
    assert 0.05 < shares.distance < 0.1 < 1 == shares.p_value


def test_a_request_counts_once_however_many_rows_it_has() -> None:
    reference = Sample.of(np.linspace(0, 1, 1000))
    one_large_request = Sample(np.full(1000, 0.9), np.full(1000, 1 / 1000))

    assert one_large_request.size == pytest.approx(1)
    assert of_numbers(reference, one_large_request, tolerated=0.1).p_value > 0.05
    assert of_numbers(reference, Sample.of(np.full(1000, 0.9)), tolerated=0.1).p_value < 1e-6


def test_holm_is_as_in_his_paper() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03})

    assert adjusted == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({}) == {}


def test_wilson_is_as_in_the_tables() -> None:
    assert wilson(8, 10, confidence=0.95) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10, confidence=0.95)[0] == pytest.approx(0)
    assert wilson(10, 10, confidence=0.95)[1] == pytest.approx(1)
