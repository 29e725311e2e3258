"""The rate of false alarms is at most the one that is set, and drift that matters is told: by simulated days."""

from __future__ import annotations

import pytest

from benchmarks.drift_rates import DAYS, SHIFTS, Traffic, alarms
from include.contracts.monitoring.drift_settings import DriftConfig


def test_of_days_without_drift_none_is_told_and_each_with_it() -> None:
    assert alarms(Traffic(), DriftConfig(), requests=300, days=8, seed=5) == 0
    assert alarms(SHIFTS["texts twice as long"], DriftConfig(), requests=300, days=3, seed=6) == 1


@pytest.mark.long
@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_the_rate_holds_over_hundreds_of_days_even_where_nothing_is_tolerated(rate: float) -> None:
    settings = DriftConfig(false_alarm_rate=rate, tolerated_distance=0)

    # Three standard deviations of what days of that rate would show.
    allowed = rate + 3 * (rate * (1 - rate) / DAYS) ** 0.5
    assert alarms(Traffic(), settings, requests=500, days=DAYS, seed=1) <= allowed


@pytest.mark.long
@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_the_rate_holds_where_traffic_differs_by_just_what_is_tolerated(rate: float) -> None:
    settings = DriftConfig(false_alarm_rate=rate, tolerated_distance=0.1)

    allowed = rate + 3 * (rate * (1 - rate) / DAYS) ** 0.5
    assert alarms(Traffic(bad=0.5), settings, requests=500, days=DAYS, seed=2) <= allowed
