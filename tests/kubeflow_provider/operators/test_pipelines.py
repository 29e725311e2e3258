from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from airflow.sdk import DAG, BaseOperator

from include import marked_processes
from kubeflow_provider.airflow_id import AIRFLOW_ID
from kubeflow_provider.compat import TaskDeferralTimeout, TaskDeferred
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    RunCancelledError,
    RunFailedError,
    RunTimeoutError,
    ServiceUnavailableError,
)
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.operators._runs.record import PIPELINE_RUN_KEY
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger
from local_services.pipelines.hook import LocalPipelinesHook
from local_services.pipelines.marked_processes import MARK
from tests.kubeflow_provider.operators.tries import Tries

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.pipelines


@pytest.fixture
def task() -> Tries:
    return Tries()


@pytest.fixture
def service(tmp_path: Path, pipelines_python: str, monkeypatch: pytest.MonkeyPatch) -> LocalPipelinesHook:
    """The real service behind ``kubeflow_pipelines_default``; what runs in it is stopped after the test."""
    extra = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(tmp_path / "runs")}
    value = json.dumps({"conn_type": "local_pipelines", "extra": extra})
    monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", value)
    monkeypatch.setenv(f"AIRFLOW_VAR_{AIRFLOW_ID.upper()}", "11111111-1111-4111-8111-111111111111")
    return get_pipeline_service("kubeflow_pipelines_default")


@pytest.fixture
def make(service: LocalPipelinesHook, record_and_wait: str, tmp_path: Path) -> Any:
    """Return ``make(parameters, **arguments)``, which makes the operator as a new try sees it."""

    def make(parameters: dict[str, Any] | None = None, **arguments: Any) -> RunPipelineOperator:
        defaults: dict[str, Any] = {"display_name": "a test", "deferrable": False, "poll_interval_seconds": 0.2}
        return RunPipelineOperator(
            task_id="train",
            pipeline_file=record_and_wait,
            parameters={"file": str(tmp_path / "recorded")} | (parameters or {}),
            **(defaults | arguments),
        )

    yield make
    for folder in (tmp_path / "runs").glob("*"):
        service.terminate_run(folder.name)


def recorded(tmp_path: Path) -> int:
    file = tmp_path / "recorded"
    return len(file.read_text().splitlines()) if file.exists() else 0


def event(task: Tries, **facts: Any) -> dict[str, Any]:
    return {"run_id": task.store[PIPELINE_RUN_KEY]["run_id"], "outcome": "over", **facts}


Make = Callable[..., RunPipelineOperator]


def test_waits_for_the_run_and_returns_its_id(make: Make, task: Tries, tmp_path: Path) -> None:
    run_id = make({"seconds": "0.2"}).execute(task.context())

    assert task.xcom == {"run_id": run_id, "run_url": None, "experiment_url": None}
    assert task.store[PIPELINE_RUN_KEY]["run_id"] == run_id
    assert recorded(tmp_path) == 1


def test_refuses_wrong_parameters_before_anything_is_stored(make: Make, task: Tries) -> None:
    with pytest.raises(InvalidRequestError, match="seconds: expected a number"):
        make({"seconds": "{{ soon }}"}).execute(task.context())

    assert task.store == {}


def test_stores_the_run_before_it_is_submitted(make: Make, task: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_run(hook: LocalPipelinesHook, document: Any, is_repeat: bool) -> None:
        assert task.store[PIPELINE_RUN_KEY]["run_id"] == document["run_id"]
        raise ServiceUnavailableError("the worker loses its network")

    monkeypatch.setattr(LocalPipelinesHook, "start_run", start_run)
    with pytest.raises(ServiceUnavailableError):
        make().execute(task.context())
    assert PIPELINE_RUN_KEY in task.store


def test_defers_with_everything_in_the_trigger(make: Make, task: Tries) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        make({"seconds": 30}, deferrable=True, timeout=timedelta(hours=2)).execute(task.context())

    trigger = deferred.value.trigger
    assert isinstance(trigger, PipelineRunTrigger)
    assert trigger.run_id == task.xcom["run_id"] == task.store[PIPELINE_RUN_KEY]["run_id"]
    assert trigger.deadline.isoformat() == task.store[PIPELINE_RUN_KEY]["deadline"]
    assert deferred.value.method_name == "execute_complete"
    assert not deferred.value.kwargs
    assert deferred.value.timeout > timedelta(hours=2)


def test_does_not_defer_when_the_run_is_already_over(make: Make, task: Tries, tmp_path: Path) -> None:
    run_id = make().execute(task.context())

    assert make(deferrable=True).execute(task.context()) == run_id
    assert recorded(tmp_path) == 1


def test_need_not_wait(make: Make, task: Tries, service: LocalPipelinesHook) -> None:
    run_id = make({"seconds": 30}, wait_for_completion=False).execute(task.context())

    assert not service.get_run(run_id).state.is_terminal  # type: ignore[union-attr]


def test_a_retry_picks_up_the_run_with_its_deadline(make: Make, task: Tries, tmp_path: Path) -> None:
    first = make({"seconds": 1}, wait_for_completion=False, timeout=timedelta(hours=1)).execute(task.context())
    deadline = task.store[PIPELINE_RUN_KEY]["deadline"]

    assert make({"seconds": 1}, timeout=timedelta(hours=1)).execute(task.context()) == first
    assert task.store[PIPELINE_RUN_KEY]["deadline"] == deadline
    assert recorded(tmp_path) == 1


def test_a_task_that_died_before_it_submitted_its_run_submits_that_one(
    make: Make, task: Tries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LocalPipelinesHook, "start_run", Mock(side_effect=SystemExit("the worker is gone")))
        with pytest.raises(SystemExit):
            make().execute(task.context())
    asked_for = task.store[PIPELINE_RUN_KEY]["run_id"]

    assert make().execute(task.context()) == asked_for
    assert recorded(tmp_path) == 1


def test_a_cleared_task_stops_its_run_and_starts_another(
    make: Make, task: Tries, service: LocalPipelinesHook, tmp_path: Path
) -> None:
    first = make({"seconds": 30}, wait_for_completion=False).execute(task.context())
    task.max_tries = 1
    second = make().execute(task.context())

    assert first != second
    assert service.get_run(first).state.value == "CANCELED"  # type: ignore[union-attr]
    assert task.store[PIPELINE_RUN_KEY]["max_tries"] == 1


@pytest.mark.parametrize("retries_now", [0, *(pytest.param(each, marks=pytest.mark.long) for each in (3, 5))])
def test_retries_that_are_changed_in_the_dag_file_meanwhile_are_no_clear(
    make: Make, task: Tries, tmp_path: Path, retries_now: int
) -> None:
    task.max_tries = 3
    first = make(retries=3).execute(task.context())

    assert make(retries=retries_now).execute(task.context()) == first
    assert recorded(tmp_path) == 1


@pytest.mark.parametrize(("max_tries", "is_the_same"), [(3, True), (4, False)])
def test_a_record_of_version_0_1_0_is_read(make: Make, task: Tries, max_tries: int, is_the_same: bool) -> None:
    task.max_tries = 3
    first = make(retries=3).execute(task.context())
    task.store[PIPELINE_RUN_KEY]["generation"] = task.store[PIPELINE_RUN_KEY].pop("max_tries") - 3
    task.max_tries = max_tries

    assert (make(retries=3).execute(task.context()) == first) is is_the_same


def test_a_failure_says_where_and_why_and_a_retry_after_it_starts_anew(make: Make, task: Tries, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError) as error:
        make({"fail": True}).execute(task.context())

    assert error.value.run_id == task.xcom["run_id"]
    message = str(error.value)
    assert f"Pipeline run {task.xcom['run_id']} ended as FAILED in step 'finish'" in message
    assert "The last lines of its log:" in message
    assert message.count("column 'stars' is missing") >= 2, "as the reason, and in the log"

    assert make().execute(task.context()) != error.value.run_id
    assert recorded(tmp_path) == 2


def test_a_run_cancelled_from_outside_fails_the_task(make: Make, task: Tries, service: LocalPipelinesHook) -> None:
    run_id = make({"seconds": 30}, wait_for_completion=False).execute(task.context())
    service.terminate_run(run_id)

    with pytest.raises(RunCancelledError, match=run_id):
        make().execute_complete(task.context(), event(task, state="CANCELED", reason=None, failed_step=None))


def test_a_retry_after_its_worker_was_shut_down_starts_anew(make: Make, task: Tries) -> None:
    operator = make({"seconds": 30}, wait_for_completion=False)
    first = operator.execute(task.context())
    operator.on_kill()

    assert make().execute(task.context()) != first


def test_a_run_that_takes_too_long_is_cancelled(make: Make, task: Tries, service: LocalPipelinesHook) -> None:
    with pytest.raises(RunTimeoutError, match="was not over after 0:00:01 and has been cancelled") as error:
        make({"seconds": 30}, timeout=timedelta(seconds=1)).execute(task.context())

    assert service.get_run(error.value.run_id).state.value == "CANCELED"  # type: ignore[union-attr]
    assert marked_processes.find(MARK, error.value.run_id) == []


@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_deferral_that_airflow_ends_counts_as_too_long(
    make: Make, task: Tries, service: LocalPipelinesHook, monkeypatch: pytest.MonkeyPatch, is_emptied: bool
) -> None:
    run_id = make({"seconds": 30}, wait_for_completion=False).execute(task.context())
    if is_emptied:
        task.store.clear()

    def resume(*arguments: Any) -> None:
        raise TaskDeferralTimeout("Trigger timeout")

    monkeypatch.setattr(BaseOperator, "resume_execution", resume)
    with pytest.raises(RunTimeoutError):
        make().resume_execution("__fail__", {}, task.context())
    assert service.get_run(run_id).state.value == "CANCELED"  # type: ignore[union-attr]


@pytest.mark.parametrize("facts", [{"is_started": False}, {}], ids=["by its trigger", "by Airflow's own timeout"])
def test_a_run_that_was_never_started_is_told_as_such(make: Make, task: Tries, facts: dict[str, Any]) -> None:
    event = {"run_id": str(uuid4()), "outcome": "timeout", **facts}

    with pytest.raises(RunTimeoutError, match="was not started within 12:00:00: no triggerer had room"):
        make().execute_complete(task.context(), event)


def test_an_outage_leaves_the_run_to_a_retry(make: Make, task: Tries) -> None:
    first = make({"seconds": 1}, wait_for_completion=False).execute(task.context())
    outage = event(task, outcome="error", error="ServiceUnavailableError", message="503")

    with pytest.raises(ServiceUnavailableError, match="503"):
        make().execute_complete(task.context(), outage)
    assert make().execute(task.context()) == first


@pytest.mark.parametrize(
    "facts",
    [
        {"outcome": "over", "state": "SUCCEEDED"},
        {"outcome": "over", "state": "CANCELED", "reason": None, "failed_step": None},
        {"outcome": "timeout"},
        {"outcome": "error", "error": "ServiceUnavailableError", "message": "503"},
    ],
    ids=lambda facts: facts.get("state", facts["outcome"]),
)
def test_what_is_said_of_an_earlier_run_ends_nothing(make: Make, task: Tries, facts: dict[str, Any]) -> None:
    first = make({"seconds": 30}, wait_for_completion=False).execute(task.context())
    of_the_first = event(task, **facts)
    task.max_tries = 1  # as a "clear" does
    second = make({"seconds": 30}, wait_for_completion=False).execute(task.context())
    before = dict(task.store[PIPELINE_RUN_KEY])

    with pytest.raises(TaskDeferred) as deferred:
        make(deferrable=True).execute_complete(task.context(), of_the_first)

    assert first != second == deferred.value.trigger.run_id
    assert task.store[PIPELINE_RUN_KEY] == before
    assert deferred.value.trigger.deadline.isoformat() == before["deadline"]


def test_on_kill_stops_the_run(make: Make, task: Tries, service: LocalPipelinesHook) -> None:
    operator = make({"seconds": 30}, wait_for_completion=False)
    operator.on_kill()  # before there is a run
    operator = make({"seconds": 30}, wait_for_completion=False)
    run_id = operator.execute(task.context())
    operator.on_kill()

    assert service.get_run(run_id).state.value == "CANCELED"  # type: ignore[union-attr]


def test_a_kill_during_submission_is_not_forgotten(
    make: Make, task: Tries, service: LocalPipelinesHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = make({"seconds": 30}, wait_for_completion=False)
    start_run = LocalPipelinesHook.start_run

    def killed(hook: LocalPipelinesHook, document: Any, is_repeat: bool) -> Any:
        operator.on_kill()
        return start_run(hook, document)

    monkeypatch.setattr(LocalPipelinesHook, "start_run", killed)
    with pytest.raises(KubeflowProviderError, match="Airflow has stopped this task"):
        operator.execute(task.context())
    run_id = task.store[PIPELINE_RUN_KEY]["run_id"]

    assert service.get_run(run_id).state.value == "CANCELED"  # type: ignore[union-attr]


@pytest.mark.airflow
@pytest.mark.long  # the example DAGs are run
@pytest.mark.parametrize("deferrable", [False, True])
def test_runs_with_airflow_dags_test(
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
    service: LocalPipelinesHook,
    record_and_wait: str,
    tmp_path: Path,
    deferrable: bool,
) -> None:
    with DAG(f"pipelines_{deferrable}", schedule=None, params={"seconds": 0.5}) as dag:
        RunPipelineOperator(
            task_id="train",
            pipeline_file=record_and_wait,
            parameters={"file": str(tmp_path / "recorded"), "seconds": "{{ params.seconds }}"},
            deferrable=deferrable,
            poll_interval_seconds=0.2,
        )
    dag_run = run_dag(dag)

    assert dag_run.state == "success"
    assert recorded(tmp_path) == 1
    run = service.get_run(xcom(dag_run, "train"))
    assert run is not None
    assert run.display_name == f"pipelines_{deferrable} {dag_run.run_id}"
