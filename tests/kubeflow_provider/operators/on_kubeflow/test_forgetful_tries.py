"""Whose run is whose where Airflow keeps nothing of a task from try to try, as before 3.3: the ids of runs follow from
the task, and marks tell the rest."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kubeflow_provider.airflow_id import AIRFLOW_ID
from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.exceptions import KubeflowProviderError, RunFailedError
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.operators._runs.record import PIPELINE_RUN_KEY
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import FAILED, RUNNING, Task, before_waiting, trained


class ForgetfulTask(Task):
    """A task of which Airflow keeps nothing but its XCom, which :meth:`next_try` empties."""

    def __init__(self, pipeline_file: str) -> None:
        super().__init__(pipeline_file)
        self.try_number = 1

    def next_try(self) -> None:
        self.try_number += 1
        self.xcom.clear()

    def context(self) -> Any:
        context = super().context()
        del context["task_state_store"]
        context["ti"].try_number = self.try_number
        return context

    @property
    def run_id(self) -> str:
        return str(self.xcom[PIPELINE_RUN_KEY]["run_id"])


@pytest.fixture
def forgetful(task: Task) -> ForgetfulTask:
    return ForgetfulTask(task.pipeline_file)


def deferred(task: ForgetfulTask) -> PipelineRunTrigger:
    with pytest.raises(TaskDeferred) as raised:
        task.run(deferrable=True, retries=2)
    assert isinstance(raised.value.trigger, PipelineRunTrigger)
    return PipelineRunTrigger(**raised.value.trigger.serialize()[1])


@pytest.mark.parametrize("state", [RUNNING, "SUCCEEDED"])
def test_a_retry_picks_up_the_run_whether_it_goes_on_or_has_succeeded(
    server: KfpServer, forgetful: ForgetfulTask, state: Any
) -> None:
    server.script(None, [RUNNING])
    first = forgetful.run(wait_for_completion=False)
    server.script(first, [state])
    forgetful.next_try()

    assert forgetful.run(wait_for_completion=False) == first
    assert trained(server) == 1


def test_a_run_that_failed_while_nobody_looked_is_told_and_not_started_again(
    server: KfpServer, forgetful: ForgetfulTask
) -> None:
    server.script(None, [RUNNING])
    first = forgetful.run(wait_for_completion=False)
    server.script(first, [FAILED])
    forgetful.next_try()

    with pytest.raises(RunFailedError, match=first):
        forgetful.run()
    assert trained(server) == 1


def test_a_retry_after_a_shut_down_worker_starts_another_run_each_time(
    server: KfpServer, forgetful: ForgetfulTask
) -> None:
    server.script(None, [RUNNING, RUNNING, FAILED])
    runs = set()
    for _ in range(3):
        operator = forgetful.operator(retries=5)
        before_waiting(operator, operator.on_kill)
        with pytest.raises(KubeflowProviderError, match="A retry starts a new run"):
            operator.execute(forgetful.context())
        runs.add(operator._run_id)
        forgetful.next_try()

    assert len(runs) == trained(server) == 3


def test_a_clear_stops_the_run_and_starts_another(server: KfpServer, forgetful: ForgetfulTask) -> None:
    server.script(None, [RUNNING])
    first = forgetful.run(wait_for_completion=False)
    forgetful.max_tries = 1
    forgetful.next_try()
    second = forgetful.run(wait_for_completion=False)

    assert first != second
    assert (server.runs[first].state, trained(server)) == ("CANCELING", 2)


def test_two_workers_with_the_same_try_ask_for_one_run(server: KfpServer, forgetful: ForgetfulTask) -> None:
    server.script(None, [RUNNING])
    first = deferred(forgetful)
    forgetful.xcom.clear()
    second = deferred(forgetful)

    assert first.run_id == second.run_id
    for trigger in (first, second):
        asyncio.run(trigger.poll(KubeflowPipelinesHook("kubeflow_pipelines_default")))
    assert trained(server) == 1


def test_a_retry_looks_for_a_run_that_may_be_on_its_way(server: KfpServer, forgetful: ForgetfulTask) -> None:
    forgetful.max_tries = 2
    assert not deferred(forgetful).is_repeat
    forgetful.next_try()
    assert deferred(forgetful).is_repeat


def test_what_a_deferral_is_about_is_known_after_it(server: KfpServer, forgetful: ForgetfulTask) -> None:
    trigger = deferred(forgetful)
    event = json.loads(json.dumps(asyncio.run(trigger.wait())))

    assert forgetful.operator(deferrable=True).execute_complete(forgetful.context(), event) == trigger.run_id
    assert trained(server) == 1


def test_a_server_that_gives_ids_of_its_own_is_asked_by_the_mark(
    server: KfpServer, forgetful: ForgetfulTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(None, [RUNNING])
    first = forgetful.run(wait_for_completion=False)
    forgetful.next_try()
    monkeypatch.setattr(KubeflowPipelinesHook, "get_run", lambda hook, run_id: None)

    assert forgetful.run(wait_for_completion=False) == first
    assert trained(server) == 1


def test_without_an_id_of_this_airflow_every_try_draws_one(
    server: KfpServer, forgetful: ForgetfulTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW_VAR_{AIRFLOW_ID.upper()}", "no UUID")
    server.script(None, ["SUCCEEDED"])

    first = forgetful.run()
    forgetful.next_try()
    assert forgetful.run() != first
