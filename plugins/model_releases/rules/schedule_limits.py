"""Whether a release that nobody asked for is due: what starts it, and what holds it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from include.contracts.schedule import ScheduleConfig
from model_releases.memory.run_trigger import Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known when a release starts.

    :param now: in UTC.
    :param asked: when it was asked for: of what waited for another release, the first event.
    :param last: when the newest recorded release was asked for, whatever became of it; ``None`` before the first.
    :param live: when the release of the live model was asked for; ``None`` when nothing is live.
    :param waiting: newer requests for the same model.
    :param events_since: how many asset events there are since a time.
    :param new_rows: training rows since the live model's; ``None`` when nobody can tell. Asked for only when it counts.
    """

    trigger: Trigger
    now: datetime
    asked: datetime
    last: datetime | None
    live: datetime | None
    waiting: int
    events_since: Callable[[datetime], int]
    new_rows: Callable[[], int | None]


def reason_to_wait(schedule: ScheduleConfig, found: Situation) -> str | None:
    """Return in one line why a release is not due, ``None`` when it is. One by hand always is."""
    if found.trigger is Trigger.MANUAL:
        return None
    if found.waiting:
        return "a newer request for this model is waiting; this one steps aside"
    if found.last is not None and found.last > found.asked and not found.events_since(found.last):
        return "a release that was asked for later has been there since"
    if found.trigger is Trigger.SCHEDULED and (reason := _not_due(schedule, found)):
        return reason
    if found.last is not None:
        hours = (found.now - found.last) / timedelta(hours=1)
        if hours < schedule.min_interval_hours:
            return (
                f"the last release was {hours:.1f} hours ago, schedule.min_interval_hours is "
                f"{schedule.min_interval_hours:g}"
            )
    if schedule.min_new_rows and found.live is not None:
        rows = found.new_rows()
        if rows is not None and rows < schedule.min_new_rows:
            return (
                f"{rows:,} new training rows since the live model, schedule.min_new_rows is {schedule.min_new_rows:,}"
            )
    return None


def _not_due(schedule: ScheduleConfig, found: Situation) -> str | None:
    """Return why a scheduled run has nothing to do: the daily look only acts on age or on events held back."""
    if found.live is None or (schedule.cron and fires_at(schedule.cron, found.asked, schedule.timezone)):
        return None
    if found.events_since(found.last or found.live):
        return None
    days = (found.now - found.live) / timedelta(days=1)
    if schedule.max_age_days is None:
        return "no new data since the last release"
    if days <= schedule.max_age_days:
        return f"the live model is {days:.1f} days old, schedule.max_age_days is {schedule.max_age_days:g}"
    return None


def fires_at(cron: str, when: datetime, timezone: str) -> bool:
    """Tell whether Airflow starts a run at a time, in UTC, for a cron expression of a time zone.

    What the clocks skip is not left out: a run of 2:30 starts at 3:30 on the day on which two o'clock is three.
    """
    from croniter import croniter

    zone = ZoneInfo(timezone)
    when = datetime.fromtimestamp(when.timestamp(), UTC)  # pendulum's times count otherwise
    before, now = ((when - timedelta(days=days)).astimezone(zone).utcoffset() or timedelta() for days in (1, 0))
    skipped = (when + before).replace(tzinfo=None)
    was_skipped = skipped.replace(tzinfo=zone).astimezone(UTC) == when
    walls = [(when + now).replace(tzinfo=None), *([skipped] if was_skipped else [])]
    return any(croniter.match(cron, wall) for wall in walls)


def announced_rows(extras: Sequence[Mapping[str, Any] | None]) -> int | None:
    """Return the sum of the rows that asset events announce in ``{"rows": n}``.

    :return: ``None`` when there is no event, or one of them does not say.
    """
    rows = [(extra or {}).get("rows") for extra in extras]
    whole = [count for count in rows if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    return sum(whole) if rows and len(whole) == len(rows) else None
