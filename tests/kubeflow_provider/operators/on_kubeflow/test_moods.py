"""What the run operator makes of a Kubeflow Pipelines server's moods: trained once, stopped when it should be."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    PermissionDeniedError,
    RunCancelledError,
    RunFailedError,
    RunTimeoutError,
    ServiceUnavailableError,
)
from kubeflow_provider.operators._runs.record import PIPELINE_RUN_KEY
from tests.doubles.kfp_server import KfpServer
from tests.doubles.login import PASSWORD, USER, Oauth2ProxyGateway
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import (
    FAILED,
    RUNNING,
    UI,
    Task,
    before_waiting,
    trained,
)


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
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", json.dumps(value))
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
    server.fault("status", method="POST", path=":terminate", status=503, times=10**6)
    with pytest.raises(ServiceUnavailableError):
        task.run(timeout=timedelta(seconds=0.2))
    server.clear_faults()
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
