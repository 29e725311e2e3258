"""When a release that nobody asked for is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.schedule import ScheduleConfig
from model_releases.memory.run_trigger import Trigger
from model_releases.rules.schedule_limits import Situation, announced_rows, fires_at, reason_to_wait

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)  # a Monday
MONDAYS = "0 3 * * 1"


def never_asked() -> int:
    raise AssertionError("rows are only counted where it matters")


def situation(trigger: Trigger = Trigger.SCHEDULED, *, events: int = 0, **changes: Any) -> Situation:
    known: dict[str, Any] = {
        "now": NOW,
        "asked": changes.get("now", NOW),
        "last": NOW - timedelta(days=7),
        "live": NOW - timedelta(days=7),
        "waiting": 0,
        "events_since": lambda time: events,
        "new_rows": never_asked,
    }
    return Situation(trigger=trigger, **(known | changes))


def test_a_release_by_hand_ignores_every_brake() -> None:
    brakes = ScheduleConfig(min_interval_hours=1000, min_new_rows=1000)
    assert reason_to_wait(brakes, situation(Trigger.MANUAL, waiting=3, last=NOW)) is None


@pytest.mark.parametrize("trigger", [Trigger.SCHEDULED, Trigger.ASSET])
def test_whatever_started_by_itself_steps_aside_for_a_newer_request(trigger: Trigger) -> None:
    reason = reason_to_wait(ScheduleConfig(cron=MONDAYS), situation(trigger, waiting=1))
    assert reason == "a newer request for this model is waiting; this one steps aside"


def test_without_brakes_cron_and_new_data_are_reason_enough() -> None:
    assert reason_to_wait(ScheduleConfig(cron=MONDAYS), situation()) is None
    assert reason_to_wait(ScheduleConfig(), situation(Trigger.ASSET)) is None


def test_what_waited_until_a_later_release_was_there_is_done_unless_more_has_come_since() -> None:
    later = NOW - timedelta(hours=1)
    found = {"asked": NOW - timedelta(hours=2), "last": later, "live": later}
    reason = reason_to_wait(ScheduleConfig(), situation(Trigger.ASSET, **found))
    assert reason == "a release that was asked for later has been there since"
    assert reason_to_wait(ScheduleConfig(), situation(Trigger.ASSET, events=1, **found)) is None


@pytest.mark.parametrize(("hours", "waits"), [(23.9, True), (24, False), (300, False)])
@pytest.mark.parametrize("trigger", [Trigger.SCHEDULED, Trigger.ASSET])
def test_no_release_follows_another_too_soon(trigger: Trigger, hours: float, waits: bool) -> None:
    brakes = ScheduleConfig(cron=MONDAYS, min_interval_hours=24)
    reason = reason_to_wait(brakes, situation(trigger, last=NOW - timedelta(hours=hours)))
    assert bool(reason) is waits
    assert not reason or reason == "the last release was 23.9 hours ago, schedule.min_interval_hours is 24"


def test_a_model_grows_too_old_between_two_releases() -> None:
    brakes, day = ScheduleConfig(max_age_days=30), timedelta(days=1)
    assert reason_to_wait(brakes, situation(live=NOW - 31 * day, last=NOW - 2 * day)) is None
    reason = reason_to_wait(brakes, situation(live=NOW - 30 * day))
    assert reason == "the live model is 30.0 days old, schedule.max_age_days is 30"


def test_the_daily_look_is_no_reason_for_a_model_with_a_cron_of_its_own() -> None:
    brakes = ScheduleConfig(cron=MONDAYS, max_age_days=30)
    assert reason_to_wait(brakes, situation()) is None
    tuesday = NOW + timedelta(days=1)
    assert reason_to_wait(brakes, situation(now=tuesday)) == (
        "the live model is 8.0 days old, schedule.max_age_days is 30"
    )


@pytest.mark.parametrize("cron", ["30 2 * * *", "0 3 * * *", "15 1 * * 0", "0 */5 1,29 * *", "@weekly"])
def test_a_run_is_known_as_the_crons_own_whatever_the_clocks_do(cron: str) -> None:
    from airflow.timetables.trigger import CronTriggerTimetable
    from pendulum import datetime as moment

    timetable = CronTriggerTimetable(cron, timezone="Europe/Berlin")
    for month in (3, 10):  # on whose last Sundays clocks are changed
        time = moment(2026, month, 22)
        while time < moment(2026, month, 30):
            time = timetable._get_next(time)
            assert fires_at(cron, time, "Europe/Berlin"), time
            assert not fires_at(cron, time.add(minutes=7), "Europe/Berlin"), time


def test_the_daily_look_and_the_cron_go_by_the_models_own_clock() -> None:
    brakes = ScheduleConfig(cron="0 4 * * 1", timezone="Europe/Berlin", max_age_days=30)
    assert reason_to_wait(brakes, situation()) is None  # 3:00 UTC is 4:00 there
    summer = datetime(2026, 6, 1, 3, tzinfo=UTC)
    week = summer - timedelta(days=7)
    assert reason_to_wait(brakes, situation(now=summer, live=week, last=week))


def test_an_event_that_came_too_soon_gets_its_release_at_the_daily_look() -> None:
    brakes, asked = ScheduleConfig(min_interval_hours=24), []

    def events_since(time: datetime) -> int:
        asked.append(time)
        return 1

    last = NOW - timedelta(hours=30)
    assert reason_to_wait(brakes, situation(last=last, events_since=events_since)) is None
    assert asked == [last]
    assert reason_to_wait(brakes, situation(last=last)) == "no new data since the last release"


def test_before_the_first_release_nothing_holds_it_back() -> None:
    brakes = ScheduleConfig(max_age_days=30, min_interval_hours=24, min_new_rows=1000)
    for trigger in (Trigger.SCHEDULED, Trigger.ASSET):
        assert reason_to_wait(brakes, situation(trigger, live=None, last=None)) is None


@pytest.mark.parametrize(("rows", "waits"), [(0, True), (999, True), (1000, False), (None, False)])
def test_too_few_new_rows_are_no_reason_and_rows_that_nobody_knows_are_no_brake(rows: int | None, waits: bool) -> None:
    found = situation(Trigger.ASSET, new_rows=lambda: rows)
    reason = reason_to_wait(ScheduleConfig(min_new_rows=1000), found)
    assert bool(reason) is waits
    assert not reason or reason == f"{rows} new training rows since the live model, schedule.min_new_rows is 1,000"


@pytest.mark.parametrize(
    ("run_type", "trigger"),
    [
        ("scheduled", Trigger.SCHEDULED),
        ("asset_triggered", Trigger.ASSET),
        ("manual", Trigger.MANUAL),
        ("operator_triggered", Trigger.MANUAL),
        ("backfill", Trigger.MANUAL),
    ],
)
def test_the_kind_of_a_dag_run_says_who_asked(run_type: str, trigger: Trigger) -> None:
    from airflow.utils.types import DagRunType

    assert Trigger.of(SimpleNamespace(run_type=run_type)) is trigger
    assert Trigger.of(SimpleNamespace(run_type=DagRunType(run_type))) is trigger


@pytest.mark.parametrize(
    ("extras", "rows"),
    [
        ([], None),
        ([{"rows": 3}, {"rows": 4, "file": "x"}], 7),
        ([{"rows": 3}, {}], None),
        ([{"rows": 3}, None], None),
        ([{"rows": "3"}], None),
        ([{"rows": -1}], None),
        ([{"rows": True}], None),
    ],
)
def test_events_announce_rows_or_leave_it_to_a_count(extras: list[Any], rows: int | None) -> None:
    assert announced_rows(extras) == rows
