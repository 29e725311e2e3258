"""What the run operator makes of a Kubeflow Pipelines server's moods: trained once, stopped when it should be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from airflow.sdk import DAG, ExceptionRetryPolicy, RetryAction
from airflow.sdk.exceptions import TaskDeferred

from kubeflow_provider.exceptions import (
    RETRY_POLICY,
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    RunCancelledError,
    RunFailedError,
    RunTimeoutError,
    ServiceUnavailableError,
)
from kubeflow_provider.hooks import kubeflow_pipelines
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.http.client import Patience
from kubeflow_provider.links import ExperimentLink, PipelineRunLink
from kubeflow_provider.operators._run_marks import AIRFLOW_ID, RunMark
from kubeflow_provider.operators._run_record import PIPELINE_RUN_KEY
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.login import PASSWORD, USER, Oauth2ProxyGateway

RUNS = "/apis/v2beta1/runs"
UI = "https://kubeflow.example.com/pipeline"
RUNNING = {"state": "RUNNING", "steps": [("record", "SUCCEEDED"), ("finish", "RUNNING")]}
FAILED = {"state": "FAILED", "steps": [("record", "SUCCEEDED"), ("finish", "FAILED")]}


class Store(dict[str, Any]):
    """Task state store that outlives a try."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Task:
    """A task instance over its tries; each is a process of its own."""

    def __init__(self, pipeline_file: str) -> None:
        self.pipeline_file = pipeline_file
        self.store = Store()
        self.xcom: dict[str, Any] = {}
        self.clears = 0
        self.born = datetime(2026, 11, 29, tzinfo=UTC)

    @property
    def run_id(self) -> str:
        return str(self.store[PIPELINE_RUN_KEY]["run_id"])

    def operator(self, **arguments: Any) -> RunPipelineOperator:
        kubeflow_pipelines._TERMINATED.clear()  # a new process remembers nothing
        defaults: dict[str, Any] = {"deferrable": False, "poll_interval_seconds": 0.01, "max_poll_errors": 3}
        return RunPipelineOperator(
            task_id="train",
            pipeline_file=self.pipeline_file,
            parameters={"file": "somewhere"},
            display_name="reviews 1",
            experiment="reviews",
            **(defaults | arguments),
        )

    def context(self) -> Any:
        return {
            "ti": SimpleNamespace(
                dag_id="releases",
                run_id="manual_1",
                task_id="train",
                map_index=-1,
                max_tries=self.clears,
                xcom_push=self.xcom.__setitem__,
                xcom_pull=lambda task_ids, key, map_indexes: self.xcom.get(key),
            ),
            "task_state_store": self.store,
            "dag_run": SimpleNamespace(start_date=self.born),
        }

    def run(self, **arguments: Any) -> str:
        return self.operator(**arguments).execute(self.context())


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with kfp_server() as server:
        server.script(None, ["PENDING", RUNNING, RUNNING, "SUCCEEDED"])
        yield server


@pytest.fixture
def task(server: KfpServer, record_and_wait: str, monkeypatch: pytest.MonkeyPatch) -> Task:
    value = {"conn_type": "kubeflow_pipelines", "host": server.url, "extra": {"ui_url": UI}}
    monkeypatch.setenv("AIRFLOW_CONN_PIPELINES_DEFAULT", json.dumps(value))
    monkeypatch.setenv(f"AIRFLOW_VAR_{AIRFLOW_ID.upper()}", "11111111-1111-4111-8111-111111111111")
    monkeypatch.setattr(KubeflowPipelinesHook, "settle_seconds", 0.1)
    monkeypatch.setattr(Patience, "pause", lambda patience, state: 0.01)
    return Task(record_and_wait)


def trained(server: KfpServer) -> int:
    return len(server.workflows)


def before_waiting(operator: RunPipelineOperator, act: Callable[[], Any]) -> None:
    """Have something happen once the run exists and before it is asked about."""
    go_on = operator._go_on

    def act_and_go_on(*arguments: Any) -> str:
        act()
        return go_on(*arguments)

    operator._go_on = act_and_go_on  # type: ignore[method-assign]


def test_runs_and_leaves_links(server: KfpServer, task: Task) -> None:
    run_id = task.run()

    assert task.xcom["run_url"] == f"{UI}/#/runs/details/{run_id}"
    assert task.xcom["experiment_url"].startswith(f"{UI}/#/experiments/details/")
    assert server.runs[run_id].display_name.startswith("reviews 1")
    assert trained(server) == 1


def test_the_settings_of_the_cluster_are_in_the_pipeline_that_runs(server: KfpServer, task: Task) -> None:
    task.run(cluster={"image": "registry.example.com/trainer:1", "service_account": "trainer"})

    executors = server.workflows[0].documents[0]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {"registry.example.com/trainer:1"}
    assert server.runs[task.run_id].service_account == "trainer"


def test_wrong_cluster_settings_are_refused_before_anything_runs(server: KfpServer, task: Task) -> None:
    with pytest.raises(InvalidRequestError, match=r"cluster\.imgae"):
        task.run(cluster={"imgae": "x"})
    assert trained(server) == 0


# Submission


def test_a_server_that_is_down_at_submission_gets_the_run_later(server: KfpServer, task: Task) -> None:
    with server.down(), pytest.raises(ServiceUnavailableError, match="Kubeflow Pipelines"):
        task.run()

    task.run()
    assert trained(server) == 1


@pytest.mark.parametrize("handled", ["before", "after"])
def test_a_connection_that_breaks_during_submission_starts_one_run(server: KfpServer, task: Task, handled: str) -> None:
    server.fault("reset", method="POST", path="/runs", handled=handled)
    task.run()

    assert trained(server) == 1


def test_a_task_that_died_after_submission_finds_its_run(server: KfpServer, task: Task) -> None:
    first = task.run(wait_for_completion=False)

    assert task.run() == first
    assert trained(server) == 1


# Waiting


@pytest.mark.parametrize("fault", ["status", "malformed", "reset"])
def test_a_server_that_is_away_for_a_while_does_no_harm(server: KfpServer, task: Task, fault: str) -> None:
    server.fault(fault, method="GET", path="/runs/", skip=2, times=2, status=500)
    task.run()

    assert trained(server) == 1


def test_a_server_that_answers_slowly_does_no_harm(server: KfpServer, task: Task) -> None:
    server.fault("slow", method="GET", path="/runs/", seconds=0.3, times=3)
    task.run()


def test_a_server_that_stays_away_leaves_the_run_to_a_retry(server: KfpServer, task: Task) -> None:
    first = task.run(wait_for_completion=False)
    server.fault("status", method="GET", path="/runs/", skip=2, times=1000, status=500)
    with pytest.raises(ServiceUnavailableError, match=rf"run {first} is out of sight: .* itself goes on\. A retry"):
        task.run()
    server.clear_faults()

    assert task.run() == first
    assert trained(server) == 1


def test_a_session_that_expires_while_the_task_waits_is_renewed(
    server: KfpServer, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(None, ["PENDING", *[RUNNING] * 8, "SUCCEEDED"])
    with Oauth2ProxyGateway(inner_url=server.url, requests_per_session=9) as gateway:
        login = {"login": USER, "password": PASSWORD, "extra": {"authentication": "dex"}}
        value = {"conn_type": "kubeflow_pipelines", "host": gateway.url, **login}
        monkeypatch.setenv("AIRFLOW_CONN_PIPELINES_DEFAULT", json.dumps(value))
        task.run()

    assert gateway.logins > 1
    assert trained(server) == 1


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 401}, {"kind": "status", "status": 403}, {"kind": "html"}]
)
def test_a_lost_permission_says_that_the_run_goes_on(server: KfpServer, task: Task, fault: dict[str, Any]) -> None:
    first = task.run(wait_for_completion=False)
    server.fault(**fault, method="GET", path="/runs/", skip=2, times=1000)
    with pytest.raises(PermissionDeniedError, match=rf"run {first} is out of sight: .*clearing the task stops it"):
        task.run()

    assert server.calls("POST", ":terminate") == 0


def test_a_run_that_has_vanished_fails_the_task(server: KfpServer, task: Task) -> None:
    first = task.run(wait_for_completion=False)
    operator = task.operator()
    before_waiting(operator, lambda: server.vanish(first))
    with pytest.raises(RunFailedError, match="no longer knows it: somebody deleted it"):
        operator.execute(task.context())


def test_a_state_that_nobody_knows_is_waited_through(server: KfpServer, task: Task) -> None:
    server.script(None, ["PENDING", "", "HIBERNATING", RUNNING, "SUCCEEDED"])
    task.run()


def test_a_run_stuck_in_running_is_stopped_at_the_deadline(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    with pytest.raises(RunTimeoutError, match=r"was not over after 0:00:00\.2.* has been cancelled\. Give the task"):
        task.run(timeout=timedelta(seconds=0.2))

    assert server.calls("POST", ":terminate") == 1
    assert next(iter(server.runs.values())).state == "CANCELING"


def test_a_run_whose_workflow_is_gone_times_out_though_the_server_cannot_stop_it(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    server.fault("status", method="POST", path=":terminate", handled="after", status=500, times=9)
    with pytest.raises(RunTimeoutError):
        task.run(timeout=timedelta(seconds=0.2))


def test_a_run_that_cannot_be_stopped_is_not_forgotten(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    server.fault("status", method="POST", path=":terminate", status=503, times=3)
    with pytest.raises(ServiceUnavailableError):
        task.run(timeout=timedelta(seconds=0.2))
    first = task.run_id
    with pytest.raises(RunTimeoutError):
        task.run(timeout=timedelta(seconds=0.2))

    assert server.runs[first].state == "CANCELING"
    assert trained(server) == 1


def test_a_run_that_somebody_else_has_terminated_is_cancelled_not_failed(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING, "CANCELING", FAILED])
    with pytest.raises(RunCancelledError, match=rf"was cancelled\. Clear the task for a new run\. Its page: {UI}"):
        task.run()


def test_a_failure_is_told_also_when_its_log_cannot_be_had(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING, FAILED])
    server.fault("status", path="log", status=500, times=99)
    with pytest.raises(RunFailedError, match=rf"ended as FAILED in step 'finish': .*Its page: {UI}"):
        task.run()

    assert PIPELINE_RUN_KEY not in task.store, "a retry is a new run"


# The end of a task


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
    task.clears = 1
    second = task.run(wait_for_completion=False)

    assert first != second
    assert server.runs[first].state == "CANCELING"
    assert server.runs[second].state != "CANCELING"
    assert trained(server) == 2


def test_a_cleared_task_starts_anew_also_when_its_old_run_cannot_be_stopped(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    task.run(wait_for_completion=False)
    task.clears = 1
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
    asyncio.run(deferred(task).poll(KubeflowPipelinesHook("pipelines_default")))
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
    first = task.run_id
    trigger = deferred(task)

    assert trigger.run_id == first
    assert trigger.is_repeat is (dies_in == "defer"), "its trigger may be there all the same"


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
    task.clears = 1
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
        task.clears = 1
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
    own = ExceptionRetryPolicy(rules=[])
    with DAG("given_a_policy", schedule=None, default_args={"retry_policy": own}):
        assert task.operator().retry_policy is own

    assert task.operator(retry_policy=own).retry_policy is own
    policy = task.operator().retry_policy
    assert policy is RETRY_POLICY
    decision = policy.evaluate(InvalidRequestError("no"), 1, 3, None)
    assert decision.action is RetryAction.FAIL
