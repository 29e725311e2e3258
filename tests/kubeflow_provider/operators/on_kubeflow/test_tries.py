"""Whose run is whose, over retries, clears and deferrals: one run for each life of a task, found again or stopped."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from airflow.sdk import DAG

from kubeflow_provider.airflow_id import AIRFLOW_ID
from kubeflow_provider.compat import HAS_RETRY_POLICIES, AirflowFailException, TaskDeferred
from kubeflow_provider.exceptions import (
    RETRY_POLICY,
    InvalidRequestError,
    KubeflowProviderError,
    RunFailedError,
)
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.links import ExperimentLink, PipelineRunLink
from kubeflow_provider.operators._runs.marks import RunMark
from kubeflow_provider.operators._runs.record import PIPELINE_RUN_KEY
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import (
    FAILED,
    RUNNING,
    RUNS,
    UI,
    Task,
    before_waiting,
    trained,
)


def test_a_retry_after_a_shut_down_worker_trains_anew_though_the_server_calls_the_run_failed(
    server: KfpServer, task: Task
) -> None:
    server.script(None, [RUNNING])
    operator = task.operator(wait_for_completion=False)
    first = operator.execute(task.context())
    operator.on_kill()
    assert server.runs[first].state == "CANCELING"

    server.script(None, [RUNNING, "SUCCEEDED"])
    server.script(first, [FAILED])
    assert task.run() != first
    assert trained(server) == 2


def test_a_task_that_is_stopped_while_it_waits_says_so(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING, RUNNING, FAILED])
    operator = task.operator()
    before_waiting(operator, operator.on_kill)
    with pytest.raises(
        KubeflowProviderError, match=r"Airflow has stopped this task.*A retry starts a new run"
    ) as error:
        operator.execute(task.context())

    assert not isinstance(error.value, RunFailedError), "its retries are its own"
    assert server.calls("POST", ":terminate") == 1


def test_a_cleared_task_stops_its_run_and_starts_another(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    first = task.run(wait_for_completion=False)
    task.max_tries = 1
    second = task.run(wait_for_completion=False)

    assert first != second
    assert server.runs[first].state == "CANCELING"
    assert server.runs[second].state != "CANCELING"
    assert trained(server) == 2


def test_a_cleared_task_starts_anew_also_when_its_old_run_cannot_be_stopped(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    task.run(wait_for_completion=False)
    task.max_tries = 1
    server.fault("status", method="POST", path=":terminate", handled="after", status=500)
    task.run(wait_for_completion=False)

    assert trained(server) == 2


def test_a_kill_during_submission_stops_the_run_and_a_retry_starts_another(
    server: KfpServer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(None, [RUNNING])
    operator = task.operator()
    start_run = KubeflowPipelinesHook.start_run

    def killed(hook: KubeflowPipelinesHook, document: Any, is_repeat: bool) -> Any:
        if not server.workflows:
            operator.on_kill()
        return start_run(hook, document, is_repeat=is_repeat)

    monkeypatch.setattr(KubeflowPipelinesHook, "start_run", killed)
    with pytest.raises(KubeflowProviderError, match="Airflow has stopped this task"):
        operator.execute(task.context())
    first = task.run_id
    assert server.runs[first].state == "CANCELING"

    assert task.run(wait_for_completion=False) != first
    assert trained(server) == 2


# The start by the trigger


def deferred(task: Task, **arguments: Any) -> PipelineRunTrigger:
    with pytest.raises(TaskDeferred) as raised:
        task.run(deferrable=True, **arguments)
    trigger = raised.value.trigger
    assert isinstance(trigger, PipelineRunTrigger)
    return PipelineRunTrigger(**trigger.serialize()[1])  # as another process makes it


def test_a_deferrable_task_leaves_the_start_to_its_trigger(server: KfpServer, task: Task) -> None:
    trigger = deferred(task)
    assert (trained(server), task.xcom["run_id"]) == (0, task.run_id)

    event = asyncio.run(trigger.wait())
    assert trained(server) == 1
    assert task.operator(deferrable=True).execute_complete(task.context(), event) == task.run_id


def test_a_retry_of_a_deferrable_task_picks_up_what_the_trigger_has_started(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    asyncio.run(deferred(task).poll(KubeflowPipelinesHook("kubeflow_pipelines_default")))
    trigger = deferred(task)

    assert trigger.submission is None
    assert trigger.run_id == next(iter(server.runs))


@pytest.mark.parametrize("dies_in", ["prepare_run", "defer"])
def test_a_task_that_died_before_anybody_could_start_its_run_leaves_nothing_to_look_for(
    task: Task, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    with monkeypatch.context() as patch:
        owner = KubeflowPipelinesHook if dies_in == "prepare_run" else RunPipelineOperator
        patch.setattr(owner, dies_in, Mock(side_effect=SystemExit("the worker is gone")))
        with pytest.raises(SystemExit):
            task.run(deferrable=True)
    first = task.store.get(PIPELINE_RUN_KEY)
    trigger = deferred(task)

    assert (first is not None) is trigger.is_repeat is (dies_in == "defer"), "its trigger may be there all the same"
    assert first is None or trigger.run_id == first["run_id"]


def test_a_trigger_that_could_not_start_its_run_fails_the_task_without_calling_it_lost(
    server: KfpServer, task: Task
) -> None:
    trigger = deferred(task)
    server.fault("status", method="POST", path="/runs", status=400, body={"message": "no such parameter"}, times=9)
    event = asyncio.run(trigger.wait())

    with pytest.raises(InvalidRequestError, match="no such parameter") as error:
        task.operator().execute_complete(task.context(), event)
    assert "out of sight" not in str(error.value)


@pytest.mark.parametrize("is_emptied", [False, True])
def test_an_event_of_an_earlier_try_leaves_the_start_to_the_next_trigger(
    server: KfpServer, task: Task, is_emptied: bool
) -> None:
    server.script(None, [FAILED])
    of_the_first = asyncio.run(deferred(task).wait())
    task.max_tries = 1
    second = deferred(task)
    if is_emptied:
        task.store.clear()
    with pytest.raises(TaskDeferred) as raised:
        task.operator(deferrable=True).execute_complete(task.context(), of_the_first)

    assert raised.value.trigger.run_id == task.run_id == task.xcom["run_id"]
    assert (task.run_id == second.run_id) is not is_emptied
    assert raised.value.trigger.submission is not None


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_link_is_there_before_the_run_is(server: KfpServer, task: Task, deferrable: bool) -> None:
    server.fault("status", method="POST", path="/runs", status=400, times=9)
    with pytest.raises((TaskDeferred, InvalidRequestError)):
        task.run(deferrable=deferrable)

    url = f"{UI}/#/runs/details/{task.run_id}"
    assert task.xcom[PipelineRunLink().xcom_key] == task.xcom["run_url"] == url
    assert task.xcom[ExperimentLink().xcom_key] == task.xcom["experiment_url"]


@pytest.mark.parametrize(
    ("timeout", "execution_timeout", "seconds"),
    [(60, None, 60), (60, 30, 30), (60, 90, 60)],
)
def test_an_execution_timeout_counts_while_the_task_is_deferred(
    task: Task, timeout: float, execution_timeout: float | None, seconds: float
) -> None:
    limit = None if execution_timeout is None else timedelta(seconds=execution_timeout)
    trigger = deferred(task, timeout=timedelta(seconds=timeout), execution_timeout=limit)

    assert trigger.deadline - trigger.started_at == timedelta(seconds=seconds)


# The mark, for when nobody remembers the run


def test_a_retry_finds_its_run_by_the_mark_when_the_store_was_emptied(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    first = task.run(wait_for_completion=False)
    task.store.clear()
    server.script(None, [RUNNING, "SUCCEEDED"])

    assert task.run() == first == task.run_id
    assert trained(server) == 1


@pytest.mark.parametrize("change", ["cleared", "made again"])
def test_a_new_life_of_the_task_stops_the_run_of_the_one_before_though_the_store_was_emptied(
    server: KfpServer, task: Task, change: str
) -> None:
    server.script(None, [RUNNING])
    first = task.run(wait_for_completion=False)
    task.store.clear()
    if change == "cleared":
        task.max_tries = 1
    else:
        task.born += timedelta(days=1)
    second = task.run(wait_for_completion=False)

    assert first != second
    assert server.runs[first].state == "CANCELING"
    assert server.runs[second].state != "CANCELING"


def test_a_run_of_the_same_names_in_another_airflow_is_left_alone(
    server: KfpServer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(None, [RUNNING])
    first = task.run(wait_for_completion=False)
    task.store.clear()
    monkeypatch.setenv(f"AIRFLOW_VAR_{AIRFLOW_ID.upper()}", "22222222-2222-4222-8222-222222222222")
    second = task.run(wait_for_completion=False)

    assert first != second
    assert server.runs[first].state != "CANCELING"


def test_a_server_that_lets_nobody_list_runs_gets_them_all_the_same(server: KfpServer, task: Task) -> None:
    server.fault("status", method="GET", path=RUNS, status=403, times=1)

    task.run()
    assert trained(server) == 1


def test_a_run_says_in_its_description_which_task_it_belongs_to(server: KfpServer, task: Task) -> None:
    mark = RunMark.read(server.runs[task.run()].description)

    assert mark is not None
    assert (mark.dag_id, mark.dag_run_id, mark.task_id) == ("releases", "manual_1", "train")
    assert task.run_id.startswith(mark.asked_for)


# What an error is worth


def test_an_error_that_cannot_mend_itself_is_not_tried_again_unless_the_dag_says_so(task: Task) -> None:
    if not HAS_RETRY_POLICIES:
        assert issubclass(InvalidRequestError, AirflowFailException)
        return
    from airflow.sdk import ExceptionRetryPolicy, RetryAction

    own = ExceptionRetryPolicy(rules=[])
    with DAG("given_a_policy", schedule=None, default_args={"retry_policy": own}):
        assert task.operator().retry_policy is own

    assert task.operator(retry_policy=own).retry_policy is own
    policy = task.operator().retry_policy
    assert policy is RETRY_POLICY
    decision = policy.evaluate(InvalidRequestError("no"), 1, 3, None)
    assert decision.action is RetryAction.FAIL
