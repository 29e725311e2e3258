"""A trigger in the loop of this Airflow's own triggerer: who ends it there, and what becomes of the run.

Airflow 3.3 tells a trigger that a user has ended its task; before that it only ends the trigger, as it does when the
triggerer itself ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner

from kubeflow_provider.services import Run
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers import _cancelling, _starting
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger
from tests.kubeflow_provider.triggers.test_starting import RUN_ID, Airflow, Service, airflow, make, service

__all__ = ("airflow", "make", "service")  # fixtures


@pytest.fixture
def going(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Let the run go on for ever."""

    async def aget_run(run_id: str, *, slack_seconds: float = 0.0) -> Run:
        return Run(run_id=run_id, state=RunState.RUNNING)

    monkeypatch.setattr(service, "aget_run", aget_run)
    return service


class Triggerer:
    """Airflow's runner of triggers, with one that has started its run."""

    def __init__(self, trigger: PipelineRunTrigger) -> None:
        self.runner = TriggerRunner()
        # Newer ones bind more of the task to the log.
        vars(trigger.task_instance).update(id="1", try_number=1, context_carrier=None)
        self.task = asyncio.create_task(self.runner.run_trigger(1, trigger))
        details: dict[str, Any] = {"task": self.task, "name": "train", "is_watcher": False, "events": 0}
        self.runner.triggers[1] = details  # type: ignore[assignment]

    async def cancel(self) -> None:
        """Do what follows when the trigger's row is gone, or is another triggerer's."""
        self.runner.to_cancel.append(1)
        await self.runner.cancel_triggers()
        await self.end()

    async def shut_down(self) -> None:
        """Do what the end of the event loop does."""
        self.task.cancel()
        await self.end()

    async def end(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            await self.task
        while _cancelling._under_way:
            await asyncio.sleep(0.01)


@pytest.fixture
def run_trigger(going: Service, make: Callable[..., PipelineRunTrigger]) -> Callable[..., Any]:
    async def run() -> Triggerer:
        triggerer = Triggerer(make())
        while not going.started and not triggerer.task.done():
            await asyncio.sleep(0.01)
        return triggerer

    return run


@pytest.mark.parametrize("state", ["failed", "success", "removed", None])
async def test_what_a_user_has_ended_ends_its_run(
    airflow: Airflow, going: Service, run_trigger: Any, state: str | None
) -> None:
    triggerer = await run_trigger()
    airflow.state = state
    await triggerer.cancel()

    assert going.terminated == [RUN_ID]


async def test_what_a_user_has_ended_while_its_start_was_noted_ends_its_run(
    airflow: Airflow, going: Service, make: Callable[..., PipelineRunTrigger], monkeypatch: pytest.MonkeyPatch
) -> None:
    noting, answers = Event(), Event()

    def note(key: str, value: Any, **ids: Any) -> None:
        if "run_id" in value:
            noting.set()
            answers.wait()

    monkeypatch.setattr(_starting.XCom, "set", note)
    triggerer = Triggerer(make())
    while not noting.is_set():
        await asyncio.sleep(0.01)
    airflow.state = "failed"
    triggerer.runner.to_cancel.append(1)
    await triggerer.runner.cancel_triggers()
    answers.set()
    await triggerer.end()

    assert going.terminated == [RUN_ID]


async def test_what_another_triggerer_has_taken_over_goes_on(
    airflow: Airflow, going: Service, run_trigger: Any
) -> None:
    await (await run_trigger()).cancel()

    assert going.terminated == []


@pytest.mark.parametrize("is_away", [False, True], ids=["", "Airflow does not answer any more"])
async def test_a_triggerer_that_ends_stops_nothing(
    airflow: Airflow, going: Service, run_trigger: Any, is_away: bool
) -> None:
    triggerer = await run_trigger()
    airflow.is_away = is_away
    await triggerer.shut_down()

    assert going.terminated == []


async def test_what_is_over_is_told_and_left_to_its_task(
    airflow: Airflow, service: Service, make: Callable[..., PipelineRunTrigger]
) -> None:
    triggerer = Triggerer(make())
    while not triggerer.runner.events and not triggerer.task.done():
        await asyncio.sleep(0.01)
    airflow.state = "scheduled"
    await triggerer.task

    assert service.terminated == []
