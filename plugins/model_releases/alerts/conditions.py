"""What goes on for a while is told once, then now and then, and once more when it is over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from model_releases.alerts.alert import Alert, Severity
from model_releases.alerts.text import body


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that should not be so, as it was found just now.

    :param name: tells it from the model's other conditions; part of alerts' keys.
    :param title: one line for as long as it goes on.
    :param over: one line for when it is over.
    :param lines: name -> what else to know.
    """

    name: str
    severity: Severity
    title: str
    over: str
    lines: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ongoing:
    """A condition that has been found before.

    :param since: when it was found first.
    :param told: how many times its time to be told has come.
    :param over: one line for when it is over.
    """

    since: datetime
    told: int
    over: str

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return {"since": self.since.isoformat(), "told": self.told, "over": self.over}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Ongoing:
        """Read what :meth:`to_json` wrote."""
        return cls(since=datetime.fromisoformat(document["since"]), told=int(document["told"]), over=document["over"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When to speak.

    :param grace: what is over sooner is never told.
    :param remind_after: time from one alert to the next while it goes on.
    """

    grace: timedelta
    remind_after: timedelta

    def due(self, lasting: timedelta) -> int:
        """Return how many times something that has lasted so long should have been told by now."""
        return 0 if lasting < self.grace else 1 + (lasting - self.grace) // self.remind_after


def follow(
    model: str,
    before: Mapping[str, Ongoing],
    found: Iterable[Condition],
    *,
    pace: Pace,
    now: datetime,
    unknown: Collection[str] = (),
) -> tuple[dict[str, Ongoing], list[Alert]]:
    """Return what goes on now, and what there is to tell of it.

    An alert that is due again has the same key as when it was due first: telling it twice does no harm.

    :param before: name of the condition -> what :func:`follow` returned the last time.
    :param unknown: names of conditions that could not be looked for: they neither begin nor end.
    """
    ongoing, alerts = {name: before[name] for name in unknown if name in before}, []
    for condition in found:
        known = before.get(condition.name)
        since, told = (known.since, known.told) if known else (now, 0)
        due = pace.due(now - since)
        if due > told:
            alerts.append(_alert(model, condition, since=since, number=due, now=now))
        ongoing[condition.name] = Ongoing(since=since, told=max(due, told), over=condition.over)
    for name, known in before.items():
        if name not in ongoing and known.told:
            alerts.append(_over(model, name, known, now=now))
    return ongoing, alerts


def _alert(model: str, condition: Condition, *, since: datetime, number: int, now: datetime) -> Alert:
    lines = {"Model": model, **condition.lines, "Since": said(since), "For": lasting(now - since)}
    return Alert(
        key=f"condition/{model}/{condition.name}/{since.isoformat()}/{number}",
        severity=condition.severity,
        title=condition.title if number == 1 else f"{condition.title} (reminder)",
        body=body(lines),
    )


def _over(model: str, name: str, known: Ongoing, *, now: datetime) -> Alert:
    return Alert(
        key=f"condition/{model}/{name}/{known.since.isoformat()}/over",
        severity=Severity.QUIET,
        title=known.over,
        body=body({"Model": model, "Since": said(known.since), "Until": said(now)}),
    )


def said(moment: datetime) -> str:
    """Return a time as people write it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def lasting(duration: timedelta) -> str:
    """Return a duration in the largest unit that is not zero."""
    minutes = int(duration.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
