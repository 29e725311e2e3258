"""The sections ``schedule`` and ``tasks`` of a model's YAML: when the model is retrained, and whose turn it then is."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from include.contracts.section import Section

#: When a model is looked at whose schedule asks for more than its own cron expression: daily, by its own clock.
DAILY_LOOK = "0 3 * * *"

#: Stands in a cron expression for a number of the model's own.
OWN_NUMBER = "H"
#: Smallest number and how many there are: minute, hour, day of the month (every month has it), month, day of the week.
_FIELDS = ((0, 60), (0, 24), (1, 28), (1, 12), (0, 7))


def own_times(cron: str, model: str) -> str:
    """Return a cron expression with numbers of the model's own in place of each ``H``.

    Models of one expression then do not all want to be trained in the same minute. The numbers come from the name
    alone: they are the same wherever and whenever they are computed.

    :param model: its name.
    """
    fields = cron.split()
    if OWN_NUMBER not in fields or len(fields) != len(_FIELDS):
        return cron
    number = int.from_bytes(hashlib.sha256(model.encode()).digest()[:8], "big")
    own = []
    for field, (first, count) in zip(fields, _FIELDS, strict=True):
        own.append(str(first + number % count) if field == OWN_NUMBER else field)
        number //= count
    return " ".join(own)


class ScheduleConfig(Section):
    """When the model is retrained besides by hand: whichever comes first, unless a brake holds it."""

    cron: str | None = Field(
        None,
        description="Cron expression, for example `0 3 * * 1`. `H` in place of a number is one of the model's own, so "
        "that models do not all begin at once: `H 3 * * *`.",
    )
    timezone: str = Field(
        "UTC", description="Whose clock the cron expression, the daily look and dates of the data go by; an IANA name."
    )
    assets: list[str] = Field([], description="Asset URIs; an event on any of them starts a release.")
    max_age_days: Annotated[float, Field(gt=0)] | None = Field(
        None, description="A live model older than this is retrained; looked at daily at 3:00."
    )
    retrain_on: Literal["drift"] | None = Field(
        None,
        description="`drift`: a comparison of captured requests that finds drift starts a release. Needs "
        "`capture.enabled` and `min_interval_hours`.",
    )
    min_interval_hours: Annotated[float, Field(ge=0)] = Field(
        0, description="Brake: no release sooner after the one before. By hand ignores it."
    )
    min_new_rows: Annotated[int, Field(ge=0)] = Field(
        0, description="Brake: fewer new training rows than this are no reason. By hand ignores it."
    )

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # not there, no name at all, a folder of the names
            raise ValueError(f"{name!r} is no time zone; use an IANA name such as Europe/Berlin, or UTC") from None
        return name

    @model_validator(mode="after")
    def _drift_is_spaced(self) -> ScheduleConfig:
        """Drift goes on until users change again, and a model of the same data would be trained each day."""
        if self.retrain_on and not self.min_interval_hours:
            raise ValueError("retrain_on: needs min_interval_hours, such as 168, or drift would train a model each day")
        return self

    @property
    def crons(self) -> list[str]:
        """The cron expressions to start a run at: the model's own, and a daily look where it needs one.

        An asset's event that came too soon after a release is not lost: the daily look finds it.
        """
        needs_look = self.max_age_days or ((self.assets or self.retrain_on) and self.min_interval_hours)
        return [*([self.cron] if self.cron else []), *([DAILY_LOOK] if needs_look else [])]


class TasksConfig(Section):
    """How Airflow's scheduler treats the tasks of the model's DAGs."""

    pool: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="Airflow pool whose slots the tasks take; it has to be there. Left out: `default_pool`."
    )
    queue: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="Queue that the workers of the tasks listen to, where the executor has such (Celery)."
    )
    priority_weight: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None,
        description="Where slots are short, a task with a higher number goes first. Left out: Airflow's own weights, "
        "which are the number of tasks that wait for it and itself.",
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """What an operator is given; a weight counts as it is, and not as a sum over the tasks behind."""
        given = self.model_dump(exclude_none=True)
        return given | ({"weight_rule": "absolute"} if "priority_weight" in given else {})
