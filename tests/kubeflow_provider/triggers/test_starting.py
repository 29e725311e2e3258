"""A trigger starts its run once, and whoever ends it meanwhile ends the run."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import Run
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers import _cancelling, _starting, blocking_work, pipelines
from kubeflow_provider.triggers._starting import XCOM_START
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger

RUN_ID = "7d4f4b0e-95f7-4a5b-8c38-35a6f6b3b6a5"


class Airflow:
    """What Airflow keeps of the trigger's task."""

    def __init__(self) -> None:
        self.state: str | None = "deferred"
        self.xcom: dict[str, Any] = {"run_id": RUN_ID}
        self.is_away = False

    def get_one(self, *, key: str, dag_id: str, task_id: str, run_id: str, map_index: int) -> Any:
        assert (dag_id, task_id, run_id, map_index) == ("releases", "train", "manual", -1)
        if self.is_away:
            raise RuntimeError("the API server is away")
        return self.xcom.get(key)

    def set(self, key: str, value: Any, **ids: Any) -> None:
        self.xcom[key] = value

    def get_task_states(self, **ids: Any) -> dict[str, Any]:
        return {"manual": {"train": self.state}}


class Service:
    """Starts runs, under ids of its own where it is told to; a start takes until ``answers`` is set."""

    def __init__(self) -> None:
        self.started: list[bool] = []
        self.terminated: list[str] = []
        self.begun, self.answers = Event(), Event()
        self.answers.set()
        self.own_id = RUN_ID
        self.error: Exception | None = None

    def start_run(self, document: Any, *, is_repeat: bool) -> Run:
        assert document == {"run_id": RUN_ID}
        self.begun.set()
        self.answers.wait()
        if self.error:
            raise self.error
        self.started.append(is_repeat)
        return Run(run_id=self.own_id, state=RunState.PENDING)

    async def aget_run(self, run_id: str, *, slack_seconds: float = 0.0) -> Run:
        return Run(run_id=run_id, state=RunState.SUCCEEDED)

    async def aterminate_run(self, run_id: str) -> None:
        self.terminated.append(run_id)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    airflow = Airflow()
    monkeypatch.setattr(_starting.XCom, "get_one", airflow.get_one)
    monkeypatch.setattr(_starting.XCom, "set", airflow.set)
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", airflow.get_task_states)
    return airflow


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()

    async def connect(conn_id: str) -> Service:
        return service

    monkeypatch.setattr(pipelines, "aget_pipeline_service", connect)
    return service


@pytest.fixture
def make(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return ``make()`` for the trigger as each triggerer makes it, without pauses."""
    for name in ("first_event_seconds", "bad_end_seconds"):
        monkeypatch.setattr(PipelineRunTrigger, name, 0.0)

    def make(**arguments: Any) -> PipelineRunTrigger:
        trigger = PipelineRunTrigger(
            run_id=RUN_ID,
            conn_id="c",
            deadline=datetime.now(tz=UTC) + timedelta(hours=1),
            poll_interval_seconds=0.01,
            submission={"run_id": RUN_ID},
            **arguments,
        )
        trigger.trigger_id = 1
        trigger.task_instance = SimpleNamespace(dag_id="releases", task_id="train", run_id="manual", map_index=-1)
        return trigger

    return make


async def payload(trigger: PipelineRunTrigger) -> dict[str, Any]:
    (event,) = [event async for event in trigger.run()]
    return dict(event.payload)


async def all_is_done() -> None:
    while _cancelling._under_way:
        await asyncio.sleep(0.001)


def test_makes_itself_again_with_what_is_to_be_started(make: Any) -> None:
    path, kwargs = make(is_repeat=True).serialize()

    assert kwargs["submission"] == {"run_id": RUN_ID}
    assert PipelineRunTrigger(**kwargs).serialize() == (path, kwargs)


def test_what_is_to_be_started_survives_airflows_store(make: Any) -> None:
    from airflow.models.trigger import Trigger

    trigger = make()
    parameters = {"a": [1, 2.5, None, {"b": "c"}], "d": ""}
    trigger.submission = {"run_id": RUN_ID, "runtime_config": {"parameters": parameters}}
    path, kwargs = trigger.serialize()
    stored = Trigger(classpath=path, kwargs=kwargs)

    assert PipelineRunTrigger(**stored.kwargs).serialize() == (path, kwargs)


def test_what_0_1_0_has_stored_starts_nothing() -> None:
    stored = {"run_id": RUN_ID, "conn_id": "c", "deadline": datetime.now(tz=UTC), "started_at": datetime.now(tz=UTC)}
    trigger = PipelineRunTrigger(**stored, poll_interval_seconds=30, max_poll_errors=10)

    assert trigger.is_started
    assert "submission" not in trigger.serialize()[1]


@pytest.mark.parametrize("is_repeat", [False, True])
async def test_starts_the_run_and_waits_for_it(service: Service, airflow: Airflow, make: Any, is_repeat: bool) -> None:
    event = await payload(make(is_repeat=is_repeat))

    assert service.started == [is_repeat]
    assert (event["outcome"], event["state"], event["run_id"]) == ("over", "SUCCEEDED", RUN_ID)
    assert airflow.xcom[XCOM_START] == {"asked_for": RUN_ID, "run_id": RUN_ID}


async def test_starts_the_run_where_airflow_keeps_nothing(service: Service, make: Any) -> None:
    trigger = make()
    trigger.trigger_id = trigger.task_instance = None  # as in `airflow dags test`

    assert (await payload(trigger))["state"] == "SUCCEEDED"
    assert service.started == [False]


async def test_a_triggerer_that_takes_over_what_has_started_starts_nothing(service: Service, make: Any) -> None:
    await payload(make())
    await payload(make())

    assert service.started == [False]


async def test_a_triggerer_that_takes_over_what_may_have_started_looks_for_it(
    service: Service, airflow: Airflow, make: Any
) -> None:
    airflow.xcom[XCOM_START] = {"asked_for": RUN_ID}
    await payload(make())

    assert service.started == [True]


async def test_a_run_whose_time_is_over_before_there_was_room_for_it_is_not_started(
    service: Service, airflow: Airflow, make: Any
) -> None:
    trigger = make()
    trigger.deadline = datetime.now(tz=UTC)
    event = await payload(trigger)

    assert service.started == []
    assert (event["outcome"], event["run_id"], event["is_started"]) == ("timeout", RUN_ID, False)
    # What an earlier trigger may have asked for is looked for, to be cancelled.
    airflow.xcom[XCOM_START] = {"asked_for": RUN_ID}
    trigger = make()
    trigger.deadline = datetime.now(tz=UTC)
    event = await payload(trigger)
    assert service.started == [True]
    assert (event["outcome"], event["is_started"]) == ("timeout", True)


async def test_what_was_noted_of_another_run_counts_for_nothing(service: Service, airflow: Airflow, make: Any) -> None:
    airflow.xcom[XCOM_START] = {"asked_for": "another", "run_id": "another"}
    await payload(make())

    assert service.started == [False]


async def test_the_run_is_looked_for_when_airflow_does_not_say_whether_it_was_asked_for(
    service: Service, airflow: Airflow, make: Any
) -> None:
    airflow.is_away = True
    await payload(make())

    assert service.started == [True]


async def test_a_service_that_gives_ids_of_its_own_is_asked_for_those(
    service: Service, airflow: Airflow, make: Any
) -> None:
    service.own_id = "its own"
    event = await payload(make())

    assert (event["run_id"], event["asked_for"]) == ("its own", RUN_ID)
    trigger = make()
    assert (await payload(trigger))["run_id"] == "its own", "also after a move to another triggerer"
    airflow.state = "failed"
    await trigger.on_kill()
    assert service.terminated == ["its own"]


@pytest.mark.parametrize("state", ["failed", None, "running"])
async def test_a_task_that_does_not_wait_gets_no_run(
    service: Service, airflow: Airflow, make: Any, state: str | None
) -> None:
    airflow.state = state
    waiting = asyncio.create_task(payload(make()))
    await asyncio.sleep(0.05)
    waiting.cancel()

    assert service.started == []


async def test_a_later_try_that_waits_for_another_run_keeps_this_one_from_starting_and_from_going_on(
    service: Service, airflow: Airflow, make: Any
) -> None:
    airflow.xcom["run_id"] = "another"
    trigger = make()
    waiting = asyncio.create_task(payload(trigger))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await trigger.on_kill()

    assert (service.started, service.terminated) == ([], [RUN_ID])


@pytest.mark.parametrize("own_id", [RUN_ID, "its own"])
async def test_a_user_who_ends_the_task_while_its_run_is_being_started_ends_the_run(
    service: Service, airflow: Airflow, make: Any, own_id: str
) -> None:
    service.own_id = own_id
    service.answers.clear()
    trigger = make()
    waiting = asyncio.create_task(payload(trigger))
    await asyncio.to_thread(service.begun.wait)
    airflow.state = "failed"
    waiting.cancel()
    kill = asyncio.create_task(trigger.on_kill())
    await asyncio.sleep(0.01)
    kill.cancel()  # Airflow waits no longer
    assert service.terminated == []

    service.answers.set()
    await all_is_done()
    assert (service.started, service.terminated) == ([False], [own_id])


async def test_a_user_who_ends_the_task_before_a_thread_was_free_for_its_run_keeps_it_from_starting(
    service: Service, airflow: Airflow, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking_work, "_threads", ThreadPoolExecutor(max_workers=1))
    busy = Event()
    blocking_work._threads.submit(busy.wait)
    trigger = make()
    waiting = asyncio.create_task(payload(trigger))
    while trigger._start._work._doing is None:
        await asyncio.sleep(0.001)
    airflow.state = "failed"
    waiting.cancel()
    await trigger.on_kill()
    busy.set()
    blocking_work._threads.shutdown()

    assert service.started == []


async def test_a_run_that_is_refused_is_told_as_such(service: Service, make: Any) -> None:
    service.error = InvalidRequestError("parameter epochs is missing")
    event = await payload(make())

    assert (event["outcome"], event["error"], event["is_started"]) == ("error", "InvalidRequestError", False)


async def test_a_service_that_is_away_gets_the_run_when_it_is_back(service: Service, make: Any) -> None:
    service.error = ServiceUnavailableError("503")
    waiting = asyncio.create_task(payload(make(max_poll_errors=1000)))
    await asyncio.to_thread(service.begun.wait)
    service.error = None

    assert (await waiting)["state"] == "SUCCEEDED"
    assert service.started in ([False], [True]), "looked for where the first request may have arrived"
