"""Waits for a pipeline run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from kubeflow_provider.compat import XCom
from kubeflow_provider.hooks import aget_pipeline_service
from kubeflow_provider.links import XCOM_RUN_ID
from kubeflow_provider.services import JsonValue, PipelineService, Run, RunStep, ScheduledService
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers._cancelling import cancel_patiently, outlive_the_trigger
from kubeflow_provider.triggers._starting import RunStart, xcom_ids
from kubeflow_provider.triggers.base import PollingTrigger, WaitOutcome

_GONE = "the service no longer knows it: somebody deleted it, or the service keeps runs for a shorter time"


def how_it_ended(run: Run) -> dict[str, Any]:
    """Return what an event tells of a run that is over: ``state``, ``reason``, ``failed_step`` and ``url``.

    Where the service tells what a run that has succeeded has made, there are ``outputs`` as well.
    """
    failed = [step.name for step in run.steps if step.state is RunState.FAILED]
    outputs = {"outputs": dict(run.outputs)} if run.outputs and run.state.is_successful else {}
    return outputs | {
        "state": run.state.value,
        "reason": run.reason,
        "failed_step": failed[-1] if failed else None,
        "url": run.url,
    }


class PipelineRunTrigger(PollingTrigger):
    """Waits until a run is over and tells the task log how far it is.

    All triggers of a process that wait on one connection ask together, see
    :class:`~kubeflow_provider.hooks._kubeflow_pipelines.shared_polling.SharedPolling`. The event holds ``run_id``,
    ``asked_for``, ``is_started``, ``state``, ``reason``, ``failed_step`` and ``url``. A user's "mark failed" or "clear"
    stops the run; a triggerer that shuts down does not.

    Given a prepared run it starts that first. A worker that started it would be gone before anybody looks after the
    run: a task that is marked in the seconds between has nobody whom Airflow would tell.

    :param run_id: the run, as its task asks for it.
    :param conn_id: Airflow connection of the pipeline service.
    :param deadline: absolute, with a time zone.
    :param started_at: when the run was asked for, for "after 0:12:05" in the log; default: now.
    :param poll_interval_seconds: longest pause between two questions.
    :param max_poll_errors: so many failed questions in a row end the waiting with an error.
    :param was_accepted: see :class:`PollingTrigger`.
    :param submission: document of the :class:`~kubeflow_provider.services.PreparedRun` to start; ``None`` for a run
        that is started already.
    :param is_repeat: whether an earlier try may have asked for it, see :class:`~kubeflow_provider.services.RunRequest`.
    """

    slack_share = 0.5

    #: After so long without news the log says that the run still goes on, and where to look at it.
    heartbeat_seconds: ClassVar[float] = 600

    def __init__(
        self,
        *,
        run_id: str,
        conn_id: str,
        deadline: datetime,
        started_at: datetime | None = None,
        poll_interval_seconds: float = 30,
        max_poll_errors: int = 10,
        was_accepted: bool = False,
        submission: Mapping[str, JsonValue] | None = None,
        is_repeat: bool = False,
    ) -> None:
        super().__init__(
            conn_id=conn_id,
            deadline=deadline,
            poll_interval_seconds=poll_interval_seconds,
            max_poll_errors=max_poll_errors,
            was_accepted=was_accepted,
        )
        self.asked_for = run_id
        self.submission = submission
        self.is_repeat = is_repeat
        self._start: RunStart | None = None
        if submission is not None:
            self._start = RunStart(run_id=run_id, document=submission, is_repeat=is_repeat, log=self.log)
        self.started_at = started_at or datetime.now(tz=UTC)
        self._state: RunState | None = None
        self._steps: dict[tuple[str, int], RunStep] = {}
        self._spoke_at = time.monotonic()

    @property
    def run_id(self) -> str:
        """What the service calls the run: what it was asked for, unless it gives ids of its own."""
        return (self._start and self._start.run_id) or self.asked_for

    @property
    def is_started(self) -> bool:
        """Whether there is anything to ask for."""
        return self._start is None or self._start.run_id is not None

    def arguments(self) -> dict[str, Any]:
        """Return what is this trigger's own."""
        return {"run_id": self.asked_for}

    def facts(self) -> dict[str, Any]:
        """Say which run an event is about, and whether there ever was one."""
        return {"run_id": self.run_id, "asked_for": self.asked_for, "is_started": self.is_started}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Add what is no fact of the event."""
        path, kwargs = super().serialize()
        kwargs["started_at"] = self.started_at
        if self.submission is not None:
            kwargs |= {"submission": dict(self.submission), "is_repeat": self.is_repeat}
        return path, kwargs

    def age_seconds(self) -> float:
        """Return how long ago the run was asked for."""
        return max(0.0, (datetime.now(tz=UTC) - self.started_at).total_seconds())

    async def connect(self) -> PipelineService:
        """Return what runs the pipeline."""
        return await aget_pipeline_service(self.conn_id)

    @property
    def acts(self) -> bool:
        """Whether it starts the run first."""
        return not self.is_started

    async def poll(self, service: PipelineService, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        """Ask for the run, log what is new, and return how it ended when it has; start it where that is to be done."""
        if self._start is not None and not self.is_started:
            started = await self._start.make(service, self.task_instance, is_late=self._seconds_left() <= 0)
            if started is not None:
                self._log_news(started)
            return None
        run = await service.aget_run(self.run_id, slack_seconds=slack_seconds)
        if run is None:
            return {"state": RunState.UNKNOWN.value, "reason": _GONE, "failed_step": None, "url": None}
        is_silent = self._log_news(run)
        if run.state.is_terminal:
            return how_it_ended(run)
        if is_silent:
            await self._say_that_it_goes_on(run, service)
        return None

    def is_good_end(self, payload: Mapping[str, Any]) -> bool:
        """Say whether the run has succeeded."""
        return payload["outcome"] == WaitOutcome.OVER and RunState(payload["state"]).is_successful

    def ask_whether_waited_for(self, task: Any) -> bool:
        """Ask Airflow whether a task is deferred, and for this run: a later try waits for another one."""
        if not super().ask_whether_waited_for(task):
            return False
        return XCom.get_one(key=XCOM_RUN_ID, **xcom_ids(task)) in (None, self.asked_for, self.run_id)

    async def on_kill(self) -> None:
        """Stop the run if a user has said that its task is over; goes on trying when Airflow waits no longer."""
        await outlive_the_trigger(self._cancel())

    async def _cancel(self) -> None:
        if await self.is_still_waited_for():
            self.log.info("Pipeline run %s is left to another triggerer: its task still waits for it.", self.run_id)
            return
        if self._start is not None:
            await self._start.settle()
        self.log.info("Cancelling pipeline run %s.", self.run_id)

        async def cancel() -> None:
            service = await self.connect()
            await service.aterminate_run(self.run_id)

        await cancel_patiently(f"Pipeline run {self.run_id}", cancel, self.log)

    def _log_news(self, run: Run) -> bool:
        """Say every change once, and return whether there was none for long."""
        after = self._age()
        news = run.state is not self._state
        if news:
            self._state = run.state
            self.log.info("Pipeline run %s is %s after %s%s", self.run_id, run.state.value, after, _where(run))
        occurrences: Counter[str] = Counter()
        for step in run.steps:
            # A loop has several steps of one name, and a step's place changes when others start before it.
            key = (step.name, occurrences[step.name])
            occurrences[step.name] += 1
            if self._steps.get(key) != step:
                self._steps[key] = step
                news = True
                progress = f" - {step.progress}" if step.progress else ""
                self.log.info("Step %s: %s%s (after %s)", step.name, step.state.value, progress, after)
        if news:
            self._spoke_at = time.monotonic()
        return time.monotonic() - self._spoke_at >= self.heartbeat_seconds

    async def _say_that_it_goes_on(self, run: Run, service: PipelineService) -> None:
        self._spoke_at = time.monotonic()
        self.log.info("Pipeline run %s is still %s after %s%s", self.run_id, run.state.value, self._age(), _where(run))
        if not isinstance(service, ScheduledService):
            return
        if missing := await asyncio.to_thread(service.waits_for, self.run_id):
            until = self.deadline.astimezone(UTC)
            self.log.info("%s. It is waited for until %s.", missing.rstrip("."), f"{until:%Y-%m-%d %H:%M} UTC")

    def _age(self) -> timedelta:
        return timedelta(seconds=round((datetime.now(tz=UTC) - self.started_at).total_seconds()))


def _where(run: Run) -> str:
    return f": {run.url}" if run.url else ""


class FollowedRunTrigger(PipelineRunTrigger):
    """Waits for a run that outlives its task, because somebody else has started it or the task says so."""

    async def on_kill(self) -> None:
        """Leave the run alone."""
