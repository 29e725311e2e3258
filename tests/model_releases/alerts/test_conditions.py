"""What goes on is told once, then now and then, then that it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from model_releases.alerts import Alert, Severity
from model_releases.alerts.conditions import Condition, Ongoing, Pace, follow, lasting

START = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
PACE = Pace(grace=timedelta(minutes=30), remind_after=timedelta(hours=24))
FOUND = Condition(
    name="disagreement", severity=Severity.LOUD, title="they disagree", over="they agree", lines={"A": "1"}
)


def watch(looks: list[tuple[timedelta, bool]], pace: Pace = PACE) -> list[tuple[timedelta, Alert]]:
    """Look at a model at these times after the start, and return what was told when."""
    ongoing: dict[str, Ongoing] = {}
    told = []
    for after, is_wrong in looks:
        ongoing, alerts = follow("reviews", ongoing, [FOUND] if is_wrong else [], pace=pace, now=START + after)
        ongoing = {name: Ongoing.from_json(one.to_json()) for name, one in ongoing.items()}
        told += [(after, alert) for alert in alerts]
    return told


def test_what_is_over_within_the_grace_is_never_told() -> None:
    assert watch([(0 * QUARTER, True), (QUARTER, True), (2 * QUARTER, False), (3 * QUARTER, True)]) == []


def test_what_goes_on_is_told_once_then_daily_and_once_when_it_is_over() -> None:
    told = watch([(number * QUARTER, number < 200) for number in range(210)])
    assert [(after, alert.severity, alert.title) for after, alert in told] == [
        (2 * QUARTER, Severity.LOUD, "they disagree"),
        (98 * QUARTER, Severity.LOUD, "they disagree (reminder)"),
        (194 * QUARTER, Severity.LOUD, "they disagree (reminder)"),
        (200 * QUARTER, Severity.QUIET, "they agree"),
    ]
    assert len({alert.key for _, alert in told}) == 4
    assert told[1][1].body.splitlines() == ["Model: reviews", "A: 1", "Since: 2026-01-02 03:00 UTC", "For: 24 h"]


def test_a_watch_that_was_away_reminds_once_and_not_for_every_day_it_missed() -> None:
    told = watch(
        [(timedelta(), True), (timedelta(hours=1), True), (timedelta(days=5), True), (timedelta(days=5.01), True)]
    )
    assert [after for after, _ in told] == [timedelta(hours=1), timedelta(days=5)]


def test_without_a_grace_it_is_told_at_once() -> None:
    pace = Pace(grace=timedelta(), remind_after=timedelta(hours=1))
    assert [alert.title for _, alert in watch([(timedelta(), True)], pace)] == ["they disagree"]


def test_what_comes_back_is_a_new_condition_with_a_grace_of_its_own() -> None:
    told = watch([(number * QUARTER, number not in (3, 4)) for number in range(8)])
    assert [alert.title for _, alert in told] == ["they disagree", "they agree", "they disagree"]
    assert len({alert.key for _, alert in told}) == 3


def test_a_condition_that_cannot_be_looked_for_neither_begins_nor_ends() -> None:
    ongoing, _ = follow("reviews", {}, [FOUND], pace=PACE, now=START)
    blind, alerts = follow("reviews", ongoing, [], pace=PACE, now=START + QUARTER, unknown=["disagreement", "other"])
    assert (blind, alerts) == (ongoing, [])


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=400), "400 days"),
    ],
)
def test_a_duration_is_said_in_its_largest_unit(duration: timedelta, text: str) -> None:
    assert lasting(duration) == text
