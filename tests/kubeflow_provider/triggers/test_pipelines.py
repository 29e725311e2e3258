from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from kubeflow_provider.services import Run, RunStep
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers import _cancelling, pipelines
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger

RUN_ID = "7d4f4b0e-95f7-4a5b-8c38-35a6f6b3b6a5"


class Service:
    """Knows one run, whose states follow each other."""

    def __init__(self, *runs: Run | None) -> None:
        self.runs = list(runs)
        self.terminated: list[str] = []

    async def aget_run(self, run_id: str, *, slack_seconds: float = 0.0) -> Run | None:
        assert run_id == RUN_ID
        return self.runs.pop(0)

    async def aterminate_run(self, run_id: str) -> None:
        self.terminated.append(run_id)


def run(state: RunState, *steps: RunStep, reason: str | None = None) -> Run:
    return Run(run_id=RUN_ID, state=state, steps=steps, reason=reason, url="https://kfp/run")


@pytest.fixture
def trigger() -> PipelineRunTrigger:
    return PipelineRunTrigger(run_id=RUN_ID, conn_id="c", deadline=datetime.now(tz=UTC) + timedelta(hours=1))


def test_makes_itself_again_from_its_serialized_form(trigger: PipelineRunTrigger) -> None:
    path, kwargs = trigger.serialize()

    assert path == "kubeflow_provider.triggers.pipelines.PipelineRunTrigger"
    assert PipelineRunTrigger(**kwargs).serialize() == (path, kwargs)


def test_its_arguments_survive_airflows_store(trigger: PipelineRunTrigger) -> None:
    from airflow.models.trigger import Trigger

    path, kwargs = trigger.serialize()
    stored = Trigger(classpath=path, kwargs=kwargs)

    assert PipelineRunTrigger(**stored.kwargs).serialize() == (path, kwargs)


async def test_waits_while_the_run_goes_on(trigger: PipelineRunTrigger) -> None:
    for state in (RunState.PENDING, RunState.RUNNING, RunState.CANCELING, RunState.PAUSED, RunState.UNKNOWN):
        assert await trigger.poll(Service(run(state))) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELED, RunState.SKIPPED])
async def test_tells_how_the_run_ended(trigger: PipelineRunTrigger, state: RunState) -> None:
    steps = (RunStep(name="train", state=RunState.SUCCEEDED), RunStep(name="package", state=state))
    facts = await trigger.poll(Service(run(state, *steps, reason="why")))  # type: ignore[arg-type]

    failed = "package" if state is RunState.FAILED else None
    assert facts == {"state": state.value, "reason": "why", "failed_step": failed, "url": "https://kfp/run"}


def test_its_pace_follows_the_age_of_the_run(trigger: PipelineRunTrigger) -> None:
    trigger.started_at = datetime.now(tz=UTC) - timedelta(hours=1)
    assert trigger.age_seconds() >= 3600

    trigger.started_at = datetime.now(tz=UTC) + timedelta(hours=1)  # another machine's clock
    assert trigger.age_seconds() == 0


async def test_a_run_that_is_gone_does_not_keep_it_waiting(trigger: PipelineRunTrigger) -> None:
    facts = await trigger.poll(Service(None))  # type: ignore[arg-type]

    assert facts is not None
    assert facts["state"] == "UNKNOWN"
    assert "the service no longer knows it" in facts["reason"]


async def test_logs_each_step_of_the_way_once(trigger: PipelineRunTrigger, capsys: pytest.CaptureFixture[str]) -> None:
    going = RunStep(name="train", state=RunState.RUNNING)
    half = RunStep(name="train", state=RunState.RUNNING, progress="epoch 1 of 2")
    done = RunStep(name="train", state=RunState.SUCCEEDED)
    service = Service(*(run(RunState.RUNNING, step) for step in (going, going, half, half, done, done)))
    for _ in range(6):
        await trigger.poll(service)  # type: ignore[arg-type]

    output = capsys.readouterr().out
    assert output.count("Step train: RUNNING - epoch 1 of 2") == 1
    assert output.count("Step train: RUNNING") == 2
    assert output.count("Step train: SUCCEEDED") == 1


async def test_steps_of_one_name_and_steps_that_move_are_told_apart(
    trigger: PipelineRunTrigger, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = RunStep(name="loop", state=RunState.SUCCEEDED)
    late = RunStep(name="early", state=RunState.RUNNING)
    service = Service(run(RunState.RUNNING, loop), run(RunState.RUNNING, late, loop, loop))
    for _ in range(2):
        await trigger.poll(service)  # type: ignore[arg-type]

    output = capsys.readouterr().out
    assert output.count("Step loop: SUCCEEDED") == 2
    assert output.count("Step early: RUNNING") == 1


async def test_says_how_long_the_run_has_been_going(
    trigger: PipelineRunTrigger, capsys: pytest.CaptureFixture[str]
) -> None:
    trigger.started_at = datetime.now(tz=UTC) - timedelta(hours=1, minutes=2, seconds=3)
    service = Service(*(run(state) for state in (RunState.PENDING, RunState.PENDING, RunState.RUNNING)))
    for _ in range(3):
        await trigger.poll(service)  # type: ignore[arg-type]

    output = capsys.readouterr().out
    assert output.count(f"Pipeline run {RUN_ID} is PENDING after 1:02:0") == 1
    assert output.count(f"Pipeline run {RUN_ID} is RUNNING after 1:02:0") == 1


async def test_says_now_and_then_that_a_silent_run_still_goes_on(
    trigger: PipelineRunTrigger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(pipelines.time, "monotonic", lambda: now)
    trigger._spoke_at = 0.0
    for now in (0.0, 300.0, 601.0, 900.0, 1202.0):  # noqa: B007 - the clock reads it
        await trigger.poll(Service(run(RunState.RUNNING)))  # type: ignore[arg-type]

    output = capsys.readouterr().out
    assert output.count("is still RUNNING after") == 2
    assert output.count("https://kfp/run") == 3


async def test_a_silent_run_whose_step_waits_for_a_node_says_what_is_missing_and_until_when(
    trigger: PipelineRunTrigger, capsys: pytest.CaptureFixture[str]
) -> None:
    class Waiting(Service):
        missing: str | None = "Pod train waits for a node: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu"

        def waits_for(self, run_id: str) -> str | None:
            assert run_id == RUN_ID
            return self.missing

    service = Waiting(*(run(RunState.RUNNING) for _ in range(4)))
    for _ in range(2):
        await trigger.poll(service)  # type: ignore[arg-type]
    assert "waits for a node" not in capsys.readouterr().out, "some minutes are nothing"
    trigger.heartbeat_seconds = 0  # type: ignore[misc]
    await trigger.poll(service)  # type: ignore[arg-type]
    assert f"3 Insufficient nvidia.com/gpu. It is waited for until {trigger.deadline:%Y-%m-%d %H:%M} UTC" in (
        capsys.readouterr().out
    )
    service.missing = None
    await trigger.poll(service)  # type: ignore[arg-type]
    assert "node" not in capsys.readouterr().out


async def test_a_user_who_ends_the_task_ends_the_run(
    trigger: PipelineRunTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()

    async def connect(conn_id: str) -> Service:
        return service

    monkeypatch.setattr(pipelines, "aget_pipeline_service", connect)
    await trigger.cleanup()
    assert service.terminated == []

    await trigger.on_kill()
    assert service.terminated == [RUN_ID]


async def test_a_cancel_goes_on_when_the_triggerer_waits_for_it_no_longer(
    trigger: PipelineRunTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    has_logged_in = asyncio.Event()

    async def connect(conn_id: str) -> Service:
        await has_logged_in.wait()
        return service

    monkeypatch.setattr(pipelines, "aget_pipeline_service", connect)
    kill = asyncio.create_task(trigger.on_kill())
    for _ in range(2):  # as Airflow does with every look at its triggers
        await asyncio.sleep(0.01)
        kill.cancel()
    assert service.terminated == []

    has_logged_in.set()
    while _cancelling._under_way:
        await asyncio.sleep(0)
    assert service.terminated == [RUN_ID]


@pytest.mark.parametrize("map_index", [-1, 3])
@pytest.mark.parametrize(
    ("state", "terminated"),
    [("deferred", []), ("failed", [RUN_ID]), ("success", [RUN_ID]), (None, [RUN_ID]), ("gone", [RUN_ID]), ("?", [])],
)
async def test_a_triggerer_that_lost_the_trigger_to_another_one_ends_no_run(
    trigger: PipelineRunTrigger,
    monkeypatch: pytest.MonkeyPatch,
    map_index: int,
    state: str | None,
    terminated: list[str],
) -> None:
    service = Service()

    async def connect(conn_id: str) -> Service:
        return service

    def get_task_states(*, dag_id: str, task_ids: list[str], run_ids: list[str], map_index: int) -> dict[str, Any]:
        assert (dag_id, task_ids, run_ids) == ("releases", ["train"], ["manual"])
        if state == "?":
            raise RuntimeError("the API server is away")
        key = "train" if map_index < 0 else f"train_{map_index}"
        return {} if state == "gone" else {"manual": {key: state}}

    monkeypatch.setattr(pipelines, "aget_pipeline_service", connect)

    def get_one(*, key: str, dag_id: str, task_id: str, run_id: str, map_index: int) -> str:
        assert (key, dag_id, task_id, run_id) == ("run_id", "releases", "train", "manual")
        return RUN_ID

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", get_task_states)
    monkeypatch.setattr(pipelines.XCom, "get_one", get_one)
    trigger.task_instance = SimpleNamespace(dag_id="releases", task_id="train", run_id="manual", map_index=map_index)

    await trigger.on_kill()

    assert service.terminated == terminated
