"""The figures and intervals that Airflow computes by itself equal those of scikit-learn, statsmodels and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from include.classifier.evaluation.paired_statistics import differences
from include.contracts.rules.paired_figures import compare, measure, student_quantile
from include.contracts.rules.predictions import Predicted

pytestmark = pytest.mark.computes


def predicted(labels: Any, predictions: Any) -> dict[str, Predicted]:
    pairs = zip(labels, predictions, strict=True)
    return {str(row): Predicted(str(label), str(prediction)) for row, (label, prediction) in enumerate(pairs)}


def answers(number: int, *, classes: int, discordant: float, difference: float = 0.0, seed: int = 0) -> Any:
    """Return true classes and two models' answers; ``discordant``: probability that exactly one of both is right."""
    random = np.random.default_rng(seed)
    first_only, second_only = (discordant + difference) / 2, (discordant - difference) / 2
    both = 0.75 - second_only
    truth = random.integers(0, classes, number)
    kind = random.choice(4, number, p=[both, first_only, second_only, 1 - both - discordant])
    wrong = (truth + random.integers(1, classes, number)) % classes
    return truth, np.where(kind < 2, truth, wrong), np.where((kind == 0) | (kind == 2), truth, wrong)


def test_figures_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    truth, first, _ = answers(300, classes=5, discordant=0.3)
    first[:3] = 7  # which is no true class
    rows = predicted(truth, first)
    assert measure("accuracy", rows) == pytest.approx(metrics.accuracy_score(truth, first))
    assert measure("macro_f1", rows) == pytest.approx(metrics.f1_score(truth, first, average="macro"))
    numbers = predicted(truth, guesses := truth + np.random.default_rng(0).normal(size=300))
    assert measure("mean_absolute_error", numbers) == pytest.approx(metrics.mean_absolute_error(truth, guesses))
    assert measure("mean_squared_error", numbers) == pytest.approx(metrics.mean_squared_error(truth, guesses))


@pytest.mark.parametrize("added", [0, 1])
def test_accuracy_has_the_normal_interval_of_statsmodels(added: int) -> None:
    from scipy.stats import norm
    from statsmodels.stats.weightstats import DescrStatsW

    truth, first, second = answers(400, classes=3, discordant=0.2, difference=0.06)
    found = compare("accuracy", predicted(truth, first), predicted(truth, second), confidence=0.9, added_rows=added)
    each = np.r_[(first == truth).astype(float) - (second == truth), [1.0, -1.0][: 2 * added]]
    stats = DescrStatsW(each, ddof=0)
    deviation = stats.std * np.sqrt(1 / 400)
    expected = stats.mean + norm.ppf([0.05, 0.95]) * deviation
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)


def test_errors_have_the_interval_of_scipy_s_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    random = np.random.default_rng(0)
    truth = random.normal(size=25)
    first, second = truth + random.normal(size=25), truth + random.normal(size=25)
    for figure, power in (("mean_absolute_error", 1), ("mean_squared_error", 2)):
        found = compare(figure, predicted(truth, first), predicted(truth, second), confidence=0.95)  # type: ignore[arg-type]
        errors = [abs(guesses - truth) ** power for guesses in (first, second)]
        expected = ttest_rel(*errors).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_quantiles_are_those_of_scipy() -> None:
    from scipy.stats import t

    for degrees in (9, 30, 1000, 200_000):
        for probability in (0.75, 0.95, 0.975, 0.995):
            assert student_quantile(probability, degrees) == pytest.approx(t.ppf(probability, degrees), abs=1e-3)


@pytest.mark.parametrize(("classes", "discordant"), [(2, 0.1), (4, 0.3), (10, 0.2)])
def test_macro_f1_has_the_interval_of_the_classifiers_bootstrap(classes: int, discordant: float) -> None:
    truth, first, second = answers(1500, classes=classes, discordant=discordant, difference=0.03)
    expected = differences(truth, first, second, n_classes=classes, resamples=6000)
    for figure in ("macro_f1", "accuracy"):
        found = compare(figure, predicted(truth, first), predicted(truth, second), confidence=0.95)  # type: ignore[arg-type]
        bootstrap = getattr(expected, figure)
        assert found.difference == pytest.approx(bootstrap.difference, abs=1e-12)
        tolerance = 0.03 * (bootstrap.high - bootstrap.low)  # a quantile of 6,000 draws is known to about 1 % of it
        assert (found.low, found.high) == pytest.approx((bootstrap.low, bootstrap.high), abs=tolerance)


@pytest.mark.parametrize(("rows", "discordant", "most"), [(150, 0.1, 0.05), (150, 0.02, 0.05), (600, 0.3, 0.04)])
def test_of_candidates_that_are_worse_by_the_margin_few_get_through(rows: int, discordant: float, most: float) -> None:
    margin, through, tries = min(0.05, discordant), 0, 300
    for seed in range(tries):
        truth, first, second = answers(rows, classes=2, discordant=discordant, difference=-margin, seed=seed)
        found = compare("accuracy", predicted(truth, first), predicted(truth, second), confidence=0.95)
        through += found.low >= -margin
    assert through / tries <= most
