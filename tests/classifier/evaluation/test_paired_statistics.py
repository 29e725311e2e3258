"""The statistics equal those of scipy, statsmodels and scikit-learn, and hold what they promise in simulations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from include.classifier import metrics
from include.classifier.evaluation.paired_statistics import differences, mcnemar

pytestmark = pytest.mark.computes

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(
    number: int, *, classes: int, discordant: float, difference: float = 0.0, accuracy: float = 0.85, seed: Any = 0
) -> Rows:
    """Return true classes and two models' answers.

    :param discordant: probability that exactly one of both is right.
    :param difference: by how much the first one is right more often.
    :param accuracy: probability that the second one is right.
    """
    random = np.random.default_rng(seed)
    first_only, second_only = (discordant + difference) / 2, (discordant - difference) / 2
    both = accuracy - second_only
    truth = random.integers(0, classes, number)
    kind = random.choice(4, number, p=[both, first_only, second_only, 1 - both - discordant])
    wrong = (truth + random.integers(1, classes, number)) % classes
    first = np.where((kind == 0) | (kind == 1), truth, wrong)
    second = np.where((kind == 0) | (kind == 2), truth, wrong)
    return truth, first, second


def test_the_measured_differences_are_those_of_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score

    truth, first, second = rows(300, classes=4, discordant=0.3)
    found = differences(truth, first, second, n_classes=5)  # the fifth class occurs nowhere
    macro = [f1_score(truth, answers, average="macro") for answers in (first, second)]
    assert found.macro_f1.difference == pytest.approx(macro[0] - macro[1])
    assert found.accuracy.difference == pytest.approx(accuracy_score(truth, first) - accuracy_score(truth, second))
    of_classes = [
        f1_score(truth, answers, average=None, labels=range(5), zero_division=0) for answers in (first, second)
    ]
    assert [interval.difference for interval in found.f1] == pytest.approx(of_classes[0] - of_classes[1])


def test_the_plain_bootstrap_is_scipy_s_paired_one():
    from scipy.stats import bootstrap

    truth, first, second = rows(250, classes=3, discordant=0.25, difference=0.05)

    def macro_f1(truth: np.ndarray, answers: np.ndarray) -> float:
        return metrics.macro_f1(metrics.confusion_matrix(truth, answers, 3))

    for name, statistic in {
        "macro_f1": lambda t, a, b: macro_f1(t, a) - macro_f1(t, b),
        "accuracy": lambda t, a, b: (a == t).mean() - (b == t).mean(),
    }.items():
        expected = bootstrap(
            (truth, first, second),
            statistic,
            paired=True,
            vectorized=False,
            method="percentile",
            confidence_level=0.9,
            n_resamples=6000,
            rng=np.random.default_rng(1),
        )
        found = getattr(
            differences(truth, first, second, n_classes=3, confidence=0.9, resamples=6000, added_rows=0), name
        )
        # A quantile of 6,000 draws is known to about 3 % of their standard deviation.
        tolerance = 0.15 * expected.standard_error
        assert found.low == pytest.approx(expected.confidence_interval.low, abs=tolerance)
        assert found.high == pytest.approx(expected.confidence_interval.high, abs=tolerance)


def test_redrawn_rows_are_compared_as_scikit_learn_compares_them():
    from sklearn.metrics import f1_score

    one = rows(120, classes=3, discordant=0.3)
    random = np.random.default_rng(2)
    for _ in range(20):
        truth, first, second = (column[random.integers(0, 120, 120)] for column in one)
        macro = [f1_score(truth, answers, average="macro") for answers in (first, second)]
        found = differences(truth, first, second, n_classes=3, resamples=1)
        assert found.macro_f1.difference == pytest.approx(macro[0] - macro[1])


@pytest.mark.parametrize("discordant", [0.02, 0.06, 0.2, 0.5])
@pytest.mark.parametrize("difference", [-0.02, 0.0, 0.01])
def test_mcnemar_is_that_of_statsmodels(discordant, difference):
    from statsmodels.stats.contingency_tables import mcnemar as reference

    truth, first, second = rows(300, classes=3, discordant=discordant, difference=difference, accuracy=0.6, seed=3)
    found = mcnemar(truth, first, second)
    right = first == truth, second == truth
    table = [[(right[0] == one) @ (right[1] == other).astype(int) for other in (True, False)] for one in (True, False)]
    assert (found.first_only, found.second_only) == (table[0][1], table[1][0])
    exact = found.first_only + found.second_only < 25
    if exact or found.first_only != found.second_only:
        assert found.p_value == pytest.approx(reference(table, exact=exact, correction=True).pvalue)
    else:
        assert found.p_value == 1


def test_models_that_are_always_right_together_give_mcnemar_nothing_to_go_by():
    truth, first, _ = rows(20, classes=2, discordant=0.2)
    assert mcnemar(truth, first, first) == (0, 0, 1.0)


def test_the_same_rows_give_the_same_interval_whatever_the_blocks(monkeypatch):
    from include.classifier.evaluation import paired_statistics

    one = rows(100, classes=3, discordant=0.3)
    whole = differences(*one, n_classes=3)
    assert differences(*one, n_classes=3) == whole
    monkeypatch.setattr(paired_statistics, "_BLOCK", 1000)
    assert differences(*one, n_classes=3) == whole


def test_without_added_rows_equal_answers_leave_no_doubt_and_with_them_few_rows_do():
    truth, first, _ = rows(60, classes=3, discordant=0.2)
    plain = differences(truth, first, first, n_classes=3, added_rows=0)
    assert plain.macro_f1 == plain.accuracy == (0, 0, 0)
    found = differences(truth, first, first, n_classes=3).accuracy
    # Three in a hundred of such rows could be different and none of these 60 would show it ("rule of three").
    assert found.low < -2 / 60
    assert found.high > 2 / 60
    many = np.tile(truth, 100), np.tile(first, 100)
    assert differences(many[0], many[1], many[1], n_classes=3).accuracy.low > -0.001


def test_an_interval_holds_what_was_measured_even_where_every_row_says_the_same():
    truth = np.array([0, 1] * 5)
    found = differences(truth, truth, 1 - truth, n_classes=2)
    assert found.accuracy.low < found.accuracy.difference == found.accuracy.high == 1


def test_the_interval_widens_with_confidence_and_narrows_with_rows():
    few, many = rows(200, classes=3, discordant=0.2), rows(2000, classes=3, discordant=0.2)

    def width(of: Rows, confidence: float = 0.95) -> float:
        found = differences(*of, n_classes=3, confidence=confidence).macro_f1
        return found.high - found.low

    assert width(few, 0.8) < width(few) < width(few, 0.99)
    assert width(many) == pytest.approx(width(few) / 10**0.5, rel=0.2)


def simulate(times: int, **how: Any) -> list[Any]:
    """Return the difference of accuracy for so many evaluation sets from the same population."""
    classes, added = how["classes"], how.pop("added_rows", 1)
    return [
        differences(*rows(seed=[7, turn], **how), n_classes=classes, resamples=400, added_rows=added).accuracy
        for turn in range(times)
    ]


def test_with_equal_models_the_interval_leaves_out_zero_as_often_as_stated():
    from scipy.stats import binomtest

    found = simulate(600, number=600, classes=4, discordant=0.2)
    wrong = sum(not interval.low <= 0 <= interval.high for interval in found)
    assert binomtest(wrong, len(found), 0.05).pvalue > 0.01, wrong


@pytest.mark.parametrize(
    ("number", "classes", "discordant", "margin"), [(600, 4, 0.2, 0.03), (150, 5, 0.03, 0.02), (100, 2, 0.02, 0.02)]
)
def test_at_the_margin_at_most_one_candidate_in_forty_gets_through(number, classes, discordant, margin):
    from scipy.stats import binomtest

    found = simulate(600, number=number, classes=classes, discordant=discordant, difference=-margin, accuracy=0.75)
    through = sum(interval.low > -margin for interval in found)
    assert binomtest(through, len(found), 0.025, alternative="greater").pvalue > 0.01, through


def test_the_plain_bootstrap_would_let_through_many_more_where_few_rows_tell_the_models_apart():
    found = simulate(300, number=100, classes=2, discordant=0.02, difference=-0.02, added_rows=0)
    assert sum(interval.low > -0.02 for interval in found) > 20


@pytest.mark.parametrize(("number", "discordant", "margin"), [(1050, 0.05, 0.02), (330, 0.1, 0.05), (480, 0.02, 0.02)])
def test_so_many_rows_as_the_documentation_says_let_an_equal_model_through_four_times_in_five(
    number, discordant, margin
):
    found = simulate(300, number=number, classes=3, discordant=discordant)
    through = sum(interval.low >= -margin for interval in found)
    assert 0.72 < through / len(found) < 0.88, through
