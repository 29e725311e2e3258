"""What a task says of its run besides pipeline and parameters arrives at the server."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG

from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError, RunFailedError, RunTimeoutError
from kubeflow_provider.operators._runs.marks import RunMark
from kubeflow_provider.operators._runs.record import PIPELINE_RUN_KEY
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.triggers.pipelines import FollowedRunTrigger
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import FAILED, RUNNING, Task, before_waiting, trained


def caching(server: KfpServer, number: int = -1) -> dict[str, Any]:
    tasks = server.workflows[number].documents[0]["root"]["dag"]["tasks"]
    return {name: task["cachingOptions"] for name, task in tasks.items()}


@pytest.mark.parametrize("given", [False, "False", "false"])
def test_caching_is_switched_off(server: KfpServer, task: Task, given: Any) -> None:
    task.run(enable_caching=given, cluster={"steps": {"record": {"cache": True}}})

    assert caching(server) == {"record": {"enableCache": True}, "finish": {}}


def test_caching_is_switched_on(server: KfpServer, task: Task) -> None:
    task.run(enable_caching="True")

    assert caching(server) == {"record": {"enableCache": True}, "finish": {"enableCache": True}}


@pytest.mark.parametrize("given", [None, "", "None"])
def test_an_argument_that_is_not_given_changes_nothing(server: KfpServer, task: Task, given: Any) -> None:
    task.run(enable_caching=given, service_account=given, cluster={"service_account": "trainer"})

    assert server.workflows[0].documents[0] == server.api.versions.popitem()[1]["_documents"][0]
    assert server.runs[task.run_id].service_account == "trainer"


def test_an_argument_counts_for_more_than_the_cluster_settings(server: KfpServer, task: Task) -> None:
    task.run(
        service_account="own",
        pipeline_root="s3://own/root",
        cluster={"service_account": "all", "pipeline_root": "s3://all/root", "cache": False},
    )

    run = server.runs[task.run_id]
    assert (run.service_account, run.runtime_config["pipeline_root"]) == ("own", "s3://own/root")
    assert set(map(str, caching(server).values())) == {"{}"}


def test_a_step_that_is_unknown_is_refused_with_those_that_there_are(server: KfpServer, task: Task) -> None:
    with pytest.raises(InvalidRequestError, match=r"cluster\.steps: tain not in .*its steps are finish, record"):
        task.run(cluster={"steps": {"tain": {"cpu_limit": "2"}}})
    assert trained(server) == 0


def test_all_that_a_form_may_give_is_templated() -> None:
    given = {"description", "enable_caching", "service_account", "pipeline_root", "outputs_uri", "required_outputs"}

    assert given < set(RunPipelineOperator.template_fields)


# The description


def test_the_description_is_before_the_mark(server: KfpServer, task: Task) -> None:
    task.run(description="  Weekly   training\nof the reviews \x00 ")

    description = server.runs[task.run_id].description
    assert description.startswith("Weekly training\nof the reviews\nAirflow: [")
    mark = RunMark.read(description)
    assert mark is not None and mark.task_id == "train"


def test_a_long_description_is_shortened_and_told_so(
    server: KfpServer, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        task.run(description="All of it " * 40)

    description = server.runs[task.run_id].description
    assert len(description) <= 255
    assert "…\nAirflow: [" in description
    assert RunMark.read(description) is not None
    assert "is shortened to" in caplog.text


def test_a_description_that_looks_like_a_mark_is_none(server: KfpServer, task: Task) -> None:
    task.run()
    first = server.runs[task.run_id].description
    task.store.clear()
    task.max_tries = 1

    task.run(description=first.splitlines()[1])

    description = server.runs[task.run_id].description
    assert description.startswith("(airflow ")
    assert description.count("[task ") == 1


# A run that is to be kept


def test_a_mark_leaves_a_kept_run_alone(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    with pytest.raises(TaskDeferred) as deferred:
        task.run(deferrable=True, keep_on_kill=True)
    trigger = deferred.value.trigger
    assert isinstance(trigger, FollowedRunTrigger)
    path, arguments = trigger.serialize()
    assert path.endswith(".FollowedRunTrigger") and arguments["submission"]
    asyncio.run(trigger.poll(asyncio.run(trigger.connect())))

    asyncio.run(trigger.on_kill())

    assert trained(server) == 1
    assert server.calls("POST", ":terminate") == 0


def test_the_next_try_after_a_stop_picks_a_kept_run_up(server: KfpServer, task: Task) -> None:
    operator = task.operator(keep_on_kill=True)
    before_waiting(operator, operator.on_kill)
    operator.execute(task.context())
    first = task.run_id

    assert task.run(keep_on_kill=True) == first
    assert (trained(server), server.calls("POST", ":terminate")) == (1, 0)


def test_a_clear_starts_another_run_beside_a_kept_one(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    task.run(keep_on_kill=True, wait_for_completion=False)
    first = task.run_id
    task.max_tries = 1

    task.run(keep_on_kill=True, wait_for_completion=False)

    assert task.run_id != first
    assert (trained(server), server.calls("POST", ":terminate")) == (2, 0)


def test_it_does_so_as_well_when_the_store_was_emptied(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])
    task.run(keep_on_kill=True, wait_for_completion=False)
    first = task.store[PIPELINE_RUN_KEY]["run_id"]
    task.store.clear()
    task.max_tries = 1

    task.run(keep_on_kill=True, wait_for_completion=False)

    assert task.run_id != first
    assert server.calls("POST", ":terminate") == 0


def test_the_sweep_knows_a_kept_run_by_its_mark(server: KfpServer, task: Task) -> None:
    task.run(keep_on_kill=True)
    kept = RunMark.read(server.runs[task.run_id].description)
    task.max_tries = 1
    task.run()
    other = RunMark.read(server.runs[task.run_id].description)

    assert kept is not None and not kept.is_waited_for
    assert other is not None and other.is_waited_for


def test_a_kept_run_that_fails_fails_its_task_as_any_other(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING, FAILED])
    operator = task.operator(keep_on_kill=True)
    before_waiting(operator, operator.on_kill)

    with pytest.raises(RunFailedError, match="ended as FAILED in step 'finish'"):
        operator.execute(task.context())


def test_a_kept_run_whose_time_is_over_is_cancelled(server: KfpServer, task: Task) -> None:
    server.script(None, [RUNNING])

    with pytest.raises(RunTimeoutError, match="has been cancelled"):
        task.run(keep_on_kill=True, timeout=timedelta())
    assert server.calls("POST", ":terminate") == 1


def test_a_task_that_is_stopped_before_its_run_begins_starts_none(server: KfpServer, task: Task) -> None:
    operator = task.operator(keep_on_kill=True)
    operator._killed = True

    with pytest.raises(KubeflowProviderError, match="Airflow has stopped this task"):
        operator.execute(task.context())
    assert trained(server) == 0


def test_a_dag_may_say_it_for_all_its_runs(record_and_wait: str) -> None:
    with DAG("d", schedule=None, default_args={"keep_on_kill": True, "enable_caching": False}):
        operator = RunPipelineOperator(task_id="train", pipeline_file=record_and_wait)

    assert (operator.keep_on_kill, operator.enable_caching) == (True, False)
