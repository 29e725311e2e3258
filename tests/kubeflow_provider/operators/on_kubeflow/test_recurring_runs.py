"""Tasks for recurring runs: Kubeflow's own schedules."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.hooks._kubeflow_pipelines.kept import recurring_runs
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.operators.kept_runs import UploadPipelineOperator
from kubeflow_provider.operators.recurring_runs import (
    CreateRecurringRunOperator,
    DeleteRecurringRunOperator,
    PauseRecurringRunOperator,
    ResumeRecurringRunOperator,
)
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import UI, Task

NOBODY = "11111111-1111-4111-8111-111111111111"
PATH = "/recurringruns"
Create = Callable[..., str]


@pytest.fixture
def create(task: Task, record_and_wait: str, monkeypatch: pytest.MonkeyPatch) -> Create:
    """Return ``create(**arguments)``, which runs the task and returns the id of the recurring run."""
    monkeypatch.setattr(recurring_runs, "_SETTLE_PAUSES", (0.0, 0.01))

    def create(**arguments: Any) -> str:
        given = {"pipeline_file": record_and_wait, "cron": "0 3 * * 1", "parameters": {"file": "somewhere"}}
        if arguments.keys() & {"pipeline", "pipeline_spec"}:
            del given["pipeline_file"]
        if "interval" in arguments:
            del given["cron"]
        operator = CreateRecurringRunOperator(task_id="it", display_name="nightly", **given | arguments)
        return operator.execute(task.context())

    return create


def only(server: KfpServer) -> dict[str, Any]:
    """Return the only recurring run that there is, in the database and in Kubernetes."""
    (row,) = server.recurring_runs.values()
    assert server.api.scheduled_workflows == {row["recurring_run_id"]}
    return row


def test_one_is_made_as_it_is_asked_for(server: KfpServer, task: Task, create: Create) -> None:
    recurring_run_id = create(
        parameters={"file": 20261121, "seconds": "1.5"},
        experiment="reviews",
        description="every Monday",
        start_time="2026-11-21T03:00:00+00:00",
        max_concurrency=2,
        service_account="trainer",
        cluster={"service_account": "nobody", "pipeline_root": "s3://bucket/root"},
    )

    row = only(server)
    assert row["recurring_run_id"] == recurring_run_id
    assert row["runtime_config"] == {
        "parameters": {"file": "20261121", "seconds": 1.5},
        "pipeline_root": "s3://bucket/root",
    }
    assert row["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1", "start_time": "2026-11-21T03:00:00Z"}}
    assert (row["status"], row["no_catchup"], row["max_concurrency"]) == ("ENABLED", True, "2")
    assert row["service_account"] == "trainer"
    assert row["description"].startswith("every Monday\n[airflow asked for ")
    assert row["experiment_id"] in server.api.experiments
    assert row["pipeline_version_reference"]["pipeline_version_id"] in server.api.versions
    assert task.xcom["recurring_run_url"] == f"{UI}/#/recurringrun/details/{recurring_run_id}"


def test_one_may_begin_paused_and_catch_up(server: KfpServer, create: Create) -> None:
    create(interval=timedelta(minutes=90), catchup=True, enabled=False)

    row = only(server)
    assert row["trigger"] == {"periodic_schedule": {"interval_second": "5400"}}
    assert (row["status"], "no_catchup" in row) == ("DISABLED", False)


def test_a_pipeline_without_a_version_is_the_newest_at_each_run(
    server: KfpServer, task: Task, create: Create, record_and_wait: str
) -> None:
    reference = UploadPipelineOperator(task_id="it", pipeline_file=record_and_wait).execute(task.context())

    create(pipeline="record-and-wait")
    assert only(server)["pipeline_version_reference"] == {"pipeline_id": reference["pipeline_id"]}
    create(pipeline="record-and-wait", pipeline_version=reference["pipeline_version_id"], replace=True)
    assert only(server)["pipeline_version_reference"] == reference


def test_what_changes_the_pipeline_cannot_follow_the_newest(
    server: KfpServer, task: Task, create: Create, record_and_wait: str
) -> None:
    reference = UploadPipelineOperator(task_id="it", pipeline_file=record_and_wait).execute(task.context())
    cluster = {"image": "registry.example.com/trainer:2"}

    with pytest.raises(InvalidRequestError, match="Name the pipeline_version that is to be changed"):
        create(pipeline="record-and-wait", cluster=cluster)
    create(pipeline="record-and-wait", pipeline_version=reference["pipeline_version_id"], cluster=cluster)

    assert "registry.example.com/trainer:2" in json.dumps(only(server)["pipeline_spec"])


def test_what_only_the_recurring_run_has(server: KfpServer, create: Create, record_and_wait: str) -> None:
    create(pipeline_spec=Path(record_and_wait).read_text(encoding="utf-8"))

    assert only(server)["pipeline_spec"]["pipelineInfo"]["name"] == "record-and-wait"
    assert server.api.pipelines == {}


def test_a_repetition_makes_no_second_one(server: KfpServer, create: Create) -> None:
    assert create() == create()
    assert server.calls("POST", PATH) == 1
    assert only(server)


def test_what_people_have_paused_stays_paused(server: KfpServer, task: Task, create: Create) -> None:
    create()
    PauseRecurringRunOperator(task_id="it", recurring_run="nightly").execute(task.context())

    create()

    assert only(server)["status"] == "DISABLED"


def test_the_same_name_in_another_experiment_is_another_one(server: KfpServer, create: Create) -> None:
    assert create() != create(experiment="reviews")
    assert len(server.recurring_runs) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cron": "0 4 * * 1"}, "differs in cron, interval, start_time or end_time"),
        ({"parameters": {"file": "elsewhere"}, "max_concurrency": 2}, "differs in parameters, max_concurrency"),
        ({"catchup": True}, "differs in catchup"),
        ({"cluster": {"service_account": "trainer"}}, "not made of this request"),
    ],
)
def test_another_one_of_the_name_is_refused_or_replaced(
    server: KfpServer, create: Create, arguments: dict[str, Any], words: str
) -> None:
    first = create()

    with pytest.raises(InvalidRequestError, match=rf"'nightly' .*\({first}\), and it .*{words}.*replace=True"):
        create(**arguments)
    assert only(server)["recurring_run_id"] == first
    second = create(**arguments, replace=True)

    assert only(server)["recurring_run_id"] == second != first
    (deleted,) = (request for request in server.requests if request.method == "DELETE")
    assert deleted.query == {"propagation_policy": "ORPHAN"}, "its runs go on"


def test_one_that_people_have_made_is_not_ours(server: KfpServer, create: Create) -> None:
    create()
    only(server)["description"] = "by hand"

    with pytest.raises(InvalidRequestError, match="it was not made of this request"):
        create()


def test_a_replacement_that_the_server_refuses_leaves_the_old_one(server: KfpServer, create: Create) -> None:
    first = create()

    with pytest.raises(InvalidRequestError, match="not a supported format"):
        create(cron="0 3 * * 7", replace=True)

    assert only(server)["recurring_run_id"] == first


@pytest.mark.parametrize("kind", ["reset", "status"])
@pytest.mark.parametrize("handled", ["before", "after"])
def test_a_lost_answer_makes_no_second_one(
    server: KfpServer, task: Task, create: Create, kind: str, handled: str
) -> None:
    server.fault(kind, method="POST", path=PATH, handled=handled)

    try:
        create()
    except ServiceUnavailableError:
        assert handled != "after"
    create()

    assert only(server)


def test_of_two_that_are_made_at_once_one_is_kept(server: KfpServer, task: Task, create: Create) -> None:
    first = create()
    row = only(server)
    twin = "00000000-0000-4000-8000-000000000000"
    server.recurring_runs[twin] = row | {"recurring_run_id": twin}

    assert create() == min(first, twin)
    assert list(server.recurring_runs) == [min(first, twin)]


def test_what_the_database_refuses_is_told(server: KfpServer, create: Create) -> None:
    server.fault("status", method="POST", path=PATH, status=500)

    with pytest.raises(ServiceUnavailableError, match="answered 500"):
        create()
    assert server.recurring_runs == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_concurrency": 11}, "max_concurrency: Kubeflow takes 1 to 10, got 11"),
        ({"display_name": " "}, "give display_name"),
        ({"description": "x" * 250}, "description: Kubeflow keeps 218 characters of it, and this one has 250"),
        ({"parameters": {"fiel": "x"}}, "fiel: unknown"),
        ({"cron": "0 3 * *"}, "has 4 fields"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_made(
    server: KfpServer, task: Task, record_and_wait: str, arguments: dict[str, Any], words: str
) -> None:
    given = {"pipeline_file": record_and_wait, "cron": "@daily", "parameters": {"file": "f"}, "display_name": "nightly"}

    with pytest.raises(InvalidRequestError, match=words):
        CreateRecurringRunOperator(task_id="it", **given | arguments).execute(task.context())
    assert server.api.scheduled_workflows == set()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cron": "@daily"}, "exactly one of pipeline_file"),
        ({"pipeline": "a"}, "exactly one of cron and interval"),
        ({"pipeline": "a", "cron": "@daily", "interval": timedelta(days=1)}, "exactly one of cron and interval"),
    ],
)
def test_exactly_one_thing_says_what_runs_and_when(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CreateRecurringRunOperator(task_id="it", display_name="nightly", **arguments)


@pytest.mark.parametrize("by_name", [True, False])
def test_one_is_paused_resumed_and_deleted_as_often_as_one_likes(
    server: KfpServer, task: Task, create: Create, by_name: bool
) -> None:
    recurring_run_id = create(experiment="reviews")
    given = {"recurring_run": "nightly", "experiment": "reviews"} if by_name else {"recurring_run": recurring_run_id}

    for kind, status in ((PauseRecurringRunOperator, "DISABLED"), (ResumeRecurringRunOperator, "ENABLED")):
        for _ in range(2):
            assert kind(task_id="it", **given).execute(task.context()) == recurring_run_id
            assert only(server)["status"] == status
    for expected in (recurring_run_id, None if by_name else recurring_run_id):
        assert DeleteRecurringRunOperator(task_id="it", **given).execute(task.context()) == expected
        assert server.recurring_runs == {}


def test_runs_are_ended_with_it_where_that_is_wanted(server: KfpServer, task: Task, create: Create) -> None:
    recurring_run_id = create()

    DeleteRecurringRunOperator(task_id="it", recurring_run=recurring_run_id, keep_runs=False).execute(task.context())

    assert server.requests[-1].method == "DELETE"
    assert server.requests[-1].query == {}


@pytest.mark.parametrize("kind", [PauseRecurringRunOperator, ResumeRecurringRunOperator])
@pytest.mark.parametrize("name", ["nightly", NOBODY])
def test_one_that_is_not_there_is_named(task: Task, kind: Any, name: str) -> None:
    with pytest.raises(InvalidRequestError, match=name):
        kind(task_id="it", recurring_run=name).execute(task.context())


@pytest.mark.parametrize("kind", [PauseRecurringRunOperator, ResumeRecurringRunOperator, DeleteRecurringRunOperator])
def test_of_two_of_a_name_nobody_chooses(server: KfpServer, task: Task, create: Create, kind: Any) -> None:
    first = create()
    server.recurring_runs[NOBODY] = only(server) | {"recurring_run_id": NOBODY}

    with pytest.raises(InvalidRequestError, match=f"2 recurring runs 'nightly' .*{first}|{NOBODY}.* Give one of these"):
        kind(task_id="it", recurring_run="nightly").execute(task.context())
    assert len(server.recurring_runs) == 2


def test_old_servers_are_told_of(
    record_and_wait: str, task: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, create: Create
) -> None:
    with kfp_server(version="2.4.0") as server:
        value = json.dumps({"conn_type": "kubeflow_pipelines", "host": server.url})
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", value)
        UploadPipelineOperator(task_id="it", pipeline_file=record_and_wait).execute(task.context())

        recurring_run_id = create(pipeline="record-and-wait")
        KubeflowPipelinesHook().delete_recurring_run(recurring_run_id)

    assert "older than 2.5: all runs take the version of pipeline record-and-wait that is the newest now" in caplog.text
    assert "older than 2.16: runs of recurring run" in caplog.text


def test_the_hook_tells_what_there_is(server: KfpServer, task: Task, create: Create) -> None:
    hook = KubeflowPipelinesHook()
    recurring_run_id = create(description="every Monday")

    run = hook.get_recurring_run(recurring_run_id)

    assert run is not None
    assert (run.display_name, run.is_enabled, run.description) == ("nightly", True, "every Monday")
    assert run.trigger == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    assert hook.find_recurring_runs("nightly", experiment="Default") == [run]
    assert hook.find_recurring_runs("Nightly", experiment="Default") == []
    assert hook.find_recurring_runs("nightly", experiment="another") == []
    assert hook.get_recurring_run(NOBODY) is None


def test_rights_are_asked_for_by_their_name(task: Task, monkeypatch: pytest.MonkeyPatch, create: Create) -> None:
    with kfp_server(multi_user=True, refused_verbs=("list",)) as server:
        value = {"conn_type": "kubeflow_pipelines", "host": server.url, "extra": {"namespace": "team"}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", json.dumps(value))

        with pytest.raises(PermissionDeniedError):
            create()
