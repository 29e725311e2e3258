"""Recurring runs of Kubeflow Pipelines: when, with what, and what the server says of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.services import JsonValue

_MOST_AT_ONCE = 10
#: What the server's parser knows (robfig/cron 1.2.0).
_MACROS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_EVERY = "@every "


def kubeflow_cron(expression: str) -> str:
    """Return a cron expression as Kubeflow takes it: with a field for seconds before the others.

    Kubeflow takes five fields without a word and reads the first one as seconds: ``0 3 * * 1``, which is three o'clock
    on Mondays elsewhere, would run three minutes past every hour in January.

    :param expression: of five fields, as Airflow takes it, of six, or a macro as ``@daily`` and ``@every 90m``.
    :raises InvalidRequestError: when it is none of these.
    """
    expression = " ".join(expression.split())
    if expression in _MACROS or expression.startswith(_EVERY):
        return expression
    fields = expression.split()
    if expression.startswith("@"):
        known = ", ".join([*sorted(_MACROS), f"{_EVERY}90m"])
        raise InvalidRequestError(f"cron: Kubeflow does not know {expression!r}; it knows {known}.")
    if fields and "=" in fields[0]:
        raise InvalidRequestError(
            f"cron: {fields[0]!r} is no field; Kubeflow has one time zone for all (CRON_SCHEDULE_TIMEZONE of its "
            "deployment ml-pipeline-scheduledworkflow, UTC by default)."
        )
    if len(fields) not in (5, 6):
        raise InvalidRequestError(
            f"cron: {expression!r} has {len(fields)} fields; give five (minute, hour, day of the month, month, day of "
            "the week), or six with the second before them."
        )
    return " ".join(fields if len(fields) == 6 else ["0", *fields])


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a recurring run starts runs: either by a cron expression, or again and again after an interval.

    :param cron: see :func:`kubeflow_cron`; in the time zone of Kubeflow's controller, UTC unless its operators say
        otherwise.
    :param interval: between the starts of two runs; a second at least.
    :param start_time: nothing runs before; with a time zone.
    :param end_time: nothing runs after; with a time zone.
    """

    cron: str | None = None
    interval: timedelta | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None

    @classmethod
    def of(
        cls,
        *,
        cron: str | None,
        interval: timedelta | None,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
    ) -> Schedule:
        """Return the schedule that a task was given.

        :param start_time: as text in the form of ISO 8601; ``None`` and an empty text stand for none.
        :param end_time: the same.
        :raises InvalidRequestError: naming what is wrong.
        """
        if (cron is None) is (interval is None):
            raise InvalidRequestError("Exactly one of cron and interval says when a recurring run starts a run.")
        if interval is not None and (interval < timedelta(seconds=1) or interval.microseconds):
            raise InvalidRequestError(f"interval: {interval} is no whole number of seconds, one at least.")
        start, end = _moment("start_time", start_time), _moment("end_time", end_time)
        if start and end and end <= start:
            raise InvalidRequestError(f"end_time: {end.isoformat()} is not after start_time, {start.isoformat()}.")
        return cls(cron=cron and kubeflow_cron(cron), interval=interval, start_time=start, end_time=end)

    def to_trigger(self) -> dict[str, JsonValue]:
        """Return it as Kubeflow's API takes it."""
        limits: dict[str, JsonValue] = {
            name: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for name, moment in (("start_time", self.start_time), ("end_time", self.end_time))
            if moment is not None
        }
        if self.interval is not None:
            seconds = str(int(self.interval.total_seconds()))
            return {"periodic_schedule": {**limits, "interval_second": seconds}}
        return {"cron_schedule": {**limits, "cron": self.cron}}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringRunRequest:
    """A recurring run to make.

    :param display_name: what people see, and by which it is found again in its experiment.
    :param pipeline: what runs; parameters are checked against it.
    :param parameters: values for its parameters, already checked and cast (``pipelines.spec.bind``).
    :param schedule: when.
    :param experiment: groups runs in Kubeflow's UI.
    :param cluster: as in :class:`~kubeflow_provider.services.RunRequest`.
    :param description: what people read of it.
    :param max_concurrency: so many of its runs go on at the same time, 1 to 10; further ones wait.
    :param catchup: whether moments that were missed, because it was paused or Kubeflow was away, are made up for.
    :param is_enabled: whether it is made enabled.
    :param follows_newest: whether each run takes the newest version of the pipeline, instead of this one.
    :param keep_pipeline: as in :class:`~kubeflow_provider.services.RunRequest`.
    """

    display_name: str
    pipeline: PipelineSpec
    parameters: Mapping[str, JsonValue]
    schedule: Schedule
    experiment: str = "Default"
    cluster: Mapping[str, JsonValue] = field(default_factory=dict)
    description: str = ""
    max_concurrency: int = 1
    catchup: bool = False
    is_enabled: bool = True
    follows_newest: bool = False
    keep_pipeline: bool = True

    def check(self) -> None:
        """Find out what the server would refuse.

        :raises InvalidRequestError: naming it.
        """
        if not self.display_name.strip():
            raise InvalidRequestError("A recurring run is found again by its name: give display_name.")
        if not 1 <= self.max_concurrency <= _MOST_AT_ONCE:
            raise InvalidRequestError(
                f"max_concurrency: Kubeflow takes 1 to {_MOST_AT_ONCE}, got {self.max_concurrency}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringRun:
    """A recurring run as the server reports it.

    :param is_enabled: whether it starts runs.
    :param trigger: its schedule as the API shows it.
    :param url: its page for people, where the address of Kubeflow's UI is known.
    :param created_at: with a time zone, where the server can tell.
    """

    recurring_run_id: str
    display_name: str
    is_enabled: bool
    experiment_id: str = ""
    description: str = ""
    trigger: Mapping[str, Any] = field(default_factory=dict)
    url: str | None = None
    created_at: datetime | None = None


def _moment(name: str, given: datetime | str | None) -> datetime | None:
    if given is None or given in ("", "None"):
        return None
    try:
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(given.strip())
    except ValueError as error:
        raise InvalidRequestError(f"{name}: {given!r} is no time in the form of ISO 8601.") from error
    if moment.tzinfo is None:
        raise InvalidRequestError(f"{name}: {given} has no time zone; write 2026-11-21T03:00:00+00:00, for example.")
    return moment
