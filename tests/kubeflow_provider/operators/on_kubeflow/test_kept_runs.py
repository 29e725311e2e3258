"""Tasks for runs that are there already, and for pipelines that Kubeflow is to keep."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.compat import AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from kubeflow_provider.exceptions import InvalidRequestError, RunCancelledError, RunFailedError, RunTimeoutError
from kubeflow_provider.operators.kept_runs import (
    ArchivePipelineRunOperator,
    DeletePipelineRunOperator,
    RetryPipelineRunOperator,
    UploadPipelineOperator,
)
from kubeflow_provider.sensors.pipelines import PipelineRunSensor
from kubeflow_provider.triggers.pipelines import FollowedRunTrigger, PipelineRunTrigger
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import FAILED, RUNNING, UI, Task

NOBODY = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def run_id(server: KfpServer, task: Task) -> str:
    """Return a run that somebody has started."""
    return task.run(wait_for_completion=False)


def event_of(deferred: TaskDeferred) -> dict[str, Any]:
    """Wait as the triggerer does."""
    path, arguments = deferred.trigger.serialize()
    kind = {each.__name__: each for each in (PipelineRunTrigger, FollowedRunTrigger)}[path.rpartition(".")[2]]
    return asyncio.run(kind(**arguments).wait())


@pytest.fixture(params=[False, True], ids=["in a worker", "deferred"])
def carry_out(request: pytest.FixtureRequest, task: Task) -> Callable[..., Any]:
    """Return ``carry_out(operator class, **arguments)``, which runs a task to its end."""

    def carry_out(kind: Any, **arguments: Any) -> Any:
        make = {"task_id": "it", "deferrable": request.param, **arguments}
        operator = kind(**make)
        try:
            return operator.execute(task.context())
        except TaskDeferred as deferred:
            event = json.loads(json.dumps(event_of(deferred)))
            return kind(**make).resume_execution(deferred.method_name, {"event": event}, task.context())

    return carry_out


WAITS = {"poke_interval": 0.01}
POLLS = {"poll_interval_seconds": 0.01}


def test_a_failed_run_is_retried_and_waited_for(
    server: KfpServer, task: Task, run_id: str, carry_out: Callable[..., Any]
) -> None:
    server.runs[run_id].set_state("FAILED")
    server.script(run_id, [FAILED, RUNNING, "SUCCEEDED"])

    assert carry_out(RetryPipelineRunOperator, run_id=run_id, **POLLS) == run_id
    assert server.calls("POST", ":retry") == 1
    assert task.xcom["run_url"] == f"{UI}/#/runs/details/{run_id}"


def test_what_goes_on_or_has_succeeded_is_not_retried(
    server: KfpServer, run_id: str, carry_out: Callable[..., Any]
) -> None:
    server.script(run_id, [RUNNING, RUNNING, "SUCCEEDED"])

    for _ in range(2):
        assert carry_out(RetryPipelineRunOperator, run_id=run_id, **POLLS) == run_id
    assert server.calls("POST", ":retry") == 0


def test_a_run_that_fails_again_fails_the_task_with_its_reason(
    server: KfpServer, run_id: str, carry_out: Callable[..., Any]
) -> None:
    server.runs[run_id].set_state("FAILED")
    server.script(run_id, [FAILED, RUNNING, FAILED])

    with pytest.raises(RunFailedError, match="ended as FAILED in step 'finish'"):
        carry_out(RetryPipelineRunOperator, run_id=run_id, **POLLS)


def test_a_retried_run_whose_time_is_over_is_cancelled(
    server: KfpServer, run_id: str, carry_out: Callable[..., Any]
) -> None:
    server.script(run_id, [RUNNING])

    with pytest.raises(RunTimeoutError, match="has been cancelled"):
        carry_out(RetryPipelineRunOperator, run_id=run_id, timeout=timedelta(), **POLLS)
    assert server.calls("POST", ":terminate") == 1


@pytest.mark.parametrize(("kind", "pace"), [(RetryPipelineRunOperator, POLLS), (PipelineRunSensor, WAITS)])
def test_a_control_plane_that_goes_away_is_waited_for(
    server: KfpServer, task: Task, run_id: str, monkeypatch: pytest.MonkeyPatch, kind: Any, pace: dict[str, Any]
) -> None:
    server.script(run_id, [RUNNING, RUNNING, "SUCCEEDED"])
    pauses: list[float] = []
    with monkeypatch.context() as patch, ExitStack() as outage:
        outage.enter_context(server.without_kubernetes())
        patch.setattr(time, "sleep", lambda seconds: (pauses.append(seconds), outage.close()))
        with pytest.raises(TaskDeferred) as deferred:
            kind(task_id="it", run_id=run_id, deferrable=True, **pace).execute(task.context())

    assert len(pauses) == 1
    assert deferred.value.trigger.was_accepted


def test_a_retry_need_not_be_waited_for(server: KfpServer, task: Task, run_id: str) -> None:
    server.runs[run_id].set_state("FAILED")
    server.script(run_id, [FAILED])
    operator = RetryPipelineRunOperator(task_id="it", run_id=run_id, wait_for_completion=False)

    assert operator.execute(task.context()) == run_id
    assert server.calls("POST", ":retry") == 1


def test_a_task_that_is_killed_stops_what_it_has_retried(server: KfpServer, task: Task, run_id: str) -> None:
    operator = RetryPipelineRunOperator(task_id="it", run_id=run_id, deferrable=False, **POLLS)
    operator._hook = operator.hook()

    operator.on_kill()

    assert server.calls("POST", f"{run_id}:terminate") == 1


def test_a_sensor_waits_for_a_good_end(
    server: KfpServer, task: Task, run_id: str, carry_out: Callable[..., Any]
) -> None:
    carry_out(PipelineRunSensor, run_id=run_id, **WAITS)

    assert server.runs[run_id].state == "SUCCEEDED"
    assert task.xcom["run_url"] == f"{UI}/#/runs/details/{run_id}"


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize(
    ("states", "kind"),
    [
        ([RUNNING, RUNNING, FAILED], RunFailedError),
        ([FAILED], RunFailedError),
        ([RUNNING, "CANCELED"], RunCancelledError),
    ],
)
def test_another_end_fails_or_skips_the_sensor(
    server: KfpServer,
    run_id: str,
    carry_out: Callable[..., Any],
    states: list[Any],
    kind: type[Exception],
    soft_fail: bool,
) -> None:
    server.script(run_id, states)

    with pytest.raises(AirflowSkipException if soft_fail else kind):
        carry_out(PipelineRunSensor, run_id=run_id, soft_fail=soft_fail, **WAITS)


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_sensor_whose_time_is_over_leaves_the_run_alone(
    server: KfpServer, run_id: str, carry_out: Callable[..., Any], soft_fail: bool
) -> None:
    server.script(run_id, [RUNNING])

    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout):
        carry_out(PipelineRunSensor, run_id=run_id, timeout=0.05, soft_fail=soft_fail, **WAITS)
    assert server.calls("POST", ":terminate") == 0


def test_a_mark_of_a_sensor_leaves_the_run_alone(server: KfpServer, task: Task, run_id: str) -> None:
    server.script(run_id, [RUNNING])
    with pytest.raises(TaskDeferred) as deferred:
        PipelineRunSensor(task_id="it", run_id=run_id, deferrable=True).execute(task.context())

    asyncio.run(deferred.value.trigger.on_kill())

    assert isinstance(deferred.value.trigger, FollowedRunTrigger)
    assert server.calls("POST", ":terminate") == 0


@pytest.mark.parametrize("kind", [RetryPipelineRunOperator, PipelineRunSensor, ArchivePipelineRunOperator])
def test_a_run_that_is_not_there_is_named(task: Task, kind: Any) -> None:
    with pytest.raises(InvalidRequestError, match=NOBODY):
        kind(task_id="it", run_id=NOBODY).execute(task.context())


def test_runs_are_archived_and_deleted_as_often_as_one_likes(server: KfpServer, task: Task, run_id: str) -> None:
    for _ in range(2):
        assert ArchivePipelineRunOperator(task_id="it", run_id=run_id).execute(task.context()) == run_id
        assert server.runs[run_id].storage_state == "ARCHIVED"
    for _ in range(2):
        assert DeletePipelineRunOperator(task_id="it", run_id=run_id).execute(task.context()) == run_id
        assert run_id not in server.runs


def test_the_verbs_of_the_hook_are_the_same_in_a_trigger(server: KfpServer, task: Task, run_id: str) -> None:
    hook = ArchivePipelineRunOperator(task_id="it", run_id=run_id).hook()

    asyncio.run(hook.aarchive_run(run_id))
    assert server.runs[run_id].storage_state == "ARCHIVED"
    for _ in range(2):
        asyncio.run(hook.adelete_run(run_id))
        assert run_id not in server.runs


def test_a_pipeline_is_uploaded_once(server: KfpServer, task: Task, record_and_wait: str) -> None:
    text = Path(record_and_wait).read_text(encoding="utf-8")
    references = [
        UploadPipelineOperator(task_id="it", **given).execute(task.context())
        for given in ({"pipeline_file": record_and_wait}, {"pipeline_spec": text})
    ]

    assert references[0] == references[1]
    assert list(server.api.versions) == [references[0]["pipeline_version_id"]]


@pytest.mark.parametrize("given", [{}, {"pipeline_file": "/a.yaml", "pipeline_spec": {}}])
def test_exactly_one_thing_says_what_is_uploaded(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        UploadPipelineOperator(task_id="it", **given)


def test_a_service_that_keeps_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    value = {"conn_type": "local_pipelines", "extra": {"python": "/p", "project_dir": "/", "runs_dir": "/r"}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", json.dumps(value))

    with pytest.raises(InvalidRequestError, match="DeletePipelineRunOperator needs one"):
        DeletePipelineRunOperator(task_id="it", run_id=NOBODY).execute(task.context())
