"""What a real Airflow does when its processes die, when a user clears or fails a task, at a deadline, at an answer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import textwrap
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from kubeflow_provider import child_processes
from kubeflow_provider.hooks.mlflow import MlflowHook
from tests.alert_listener import Listener, alert_listener

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.airflow, pytest.mark.pipelines]

TASK = "train"
DAGS = """
    import os
    import signal
    from datetime import timedelta

    from airflow.sdk import DAG

    from kubeflow_provider.exceptions import RETRY_POLICY
    from kubeflow_provider.operators.pipelines import RunPipelineOperator


    def die_once(operator):
        # On the first try only: what is tested is what the second one makes of it.
        if not os.path.exists(operator.parameters["file"] + ".died"):
            open(operator.parameters["file"] + ".died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)


    class DiesBeforeSubmitting(RunPipelineOperator):
        def _record(self, context, service):
            record = super()._record(context, service)
            die_once(self)
            return record


    class DiesAfterSubmitting(RunPipelineOperator):
        def defer(self, **kwargs):
            die_once(self)
            super().defer(**kwargs)


    def make(dag_id, operator, deferrable):
        with DAG(dag_id, schedule=None, params={"file": "", "seconds": 1.0, "fail": False}):
            operator(
                task_id="train",
                pipeline_file=os.environ["TEST_PIPELINE"],
                parameters={
                    "file": "{{ params.file }}", "seconds": "{{ params.seconds }}", "fail": "{{ params.fail }}"
                },
                pipelines_conn_id="pipelines_test",
                deferrable=deferrable,
                retries=2,
                retry_delay=timedelta(seconds=1),
                retry_policy=RETRY_POLICY,
            )


    make("blocking", RunPipelineOperator, False)
    make("deferring", RunPipelineOperator, True)
    make("dies_before_submitting", DiesBeforeSubmitting, True)
    make("dies_after_submitting", DiesAfterSubmitting, True)
"""

DEADLINES = """
    from datetime import timedelta

    from airflow.sdk import DAG, task

    from kubeflow_provider.alerts.deadlines import age_deadline, release_deadline

    # A busy machine may fail to start a task.
    retries = {"retries": 5, "retry_delay": timedelta(seconds=1)}

    with DAG(
        "watches",
        schedule=None,
        default_args=retries,
        deadline=[
            age_deadline(model, max_age_days=30, remind_after_hours=24, conn_id="alerts_test")
            for model in ("aged", "young")
        ],
    ):
        task(lambda: None, task_id="look")()

    with DAG(
        "takes_long",
        schedule=None,
        default_args=retries,
        deadline=release_deadline("aged", max_release_hours=1 / 3600, conn_id="alerts_test"),
    ):

        @task.sensor(mode="reschedule", poke_interval=5, timeout=600)
        def wait():
            from airflow.sdk import Variable

            return Variable.get("may_end", default="no") == "yes"

        wait()
"""

APPROVALS = """
    from datetime import timedelta

    from airflow.sdk import DAG

    from kubeflow_provider.operators.approval import ReleaseApprovalOperator
    from kubeflow_provider.operators.registry import RegisterOperator

    for dag_id, timeout in (("asks", timedelta(hours=1)), ("asks_in_passing", timedelta(milliseconds=1))):
        with DAG(dag_id, schedule=None, params={"version": "", "candidate_uri": ""}):
            this = {
                "model": "reviews",
                "version": "{{ params.version }}",
                "candidate_uri": "{{ params.candidate_uri }}",
            }
            # The retries are for answers that come before the scheduler has seen the asking process end: it fails the
            # task for that.
            approve = ReleaseApprovalOperator(
                task_id="approve",
                response_timeout=timeout,
                alert_conn_id="alerts_test",
                retries=5,
                retry_delay=timedelta(seconds=1),
                **this,
            )
            approve >> RegisterOperator(task_id="register", **this)
"""


@pytest.fixture(scope="module")
def alerts() -> Iterator[tuple[type[Listener], str]]:
    """Return a receiver of alerts with its address."""
    with alert_listener() as listener:
        yield listener


@pytest.fixture(scope="module")
def registry(empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the connection to an MLflow database."""
    database = shutil.copy(empty_mlflow, tmp_path_factory.mktemp("registry"))
    return {"conn_type": "mlflow", "extra": {"tracking_uri": f"sqlite:///{database}"}}


@pytest.fixture(scope="module")
def airflow(
    airflow_server: Callable[..., Any],
    alerts: tuple[type[Listener], str],
    tmp_path_factory: pytest.TempPathFactory,
    pipelines_python: str,
    record_and_wait: str,
    registry: dict[str, Any],
) -> Any:
    folder = tmp_path_factory.mktemp("crashes")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "crashes.py").write_text(textwrap.dedent(DAGS))
    (dags / "deadlines.py").write_text(textwrap.dedent(DEADLINES))
    (dags / "approvals.py").write_text(textwrap.dedent(APPROVALS))
    extra = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(folder / "runs")}
    env = {
        "AIRFLOW_CONN_PIPELINES_TEST": json.dumps({"conn_type": "local_pipelines", "extra": extra}),
        "AIRFLOW_CONN_ALERTS_TEST": json.dumps({"conn_type": "apprise", "extra": {"config": {"path": alerts[1]}}}),
        "AIRFLOW_CONN_REGISTRY_DEFAULT": json.dumps(registry),
        "TEST_PIPELINE": record_and_wait,
    }
    trainings = ("blocking", "deferring", "dies_before_submitting", "dies_after_submitting")
    return airflow_server(dags, env, dag_ids=(*trainings, "watches", "takes_long", "asks", "asks_in_passing"))


def trained(file: Path) -> int:
    """Return how often the training has begun."""
    return len(file.read_text().splitlines()) if file.exists() else 0


def wait_for_the_trigger(airflow: Any, run: str) -> None:
    """Wait until the trigger of the deferred task tells of a step: until then it may cancel nothing."""
    airflow.wait_for_task("deferring", run, TASK, ("deferred",))
    wait_for(lambda: "Step " in airflow.log("deferring", run, TASK), "the trigger tells of a step")


def wait_for(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 600
    while not is_true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.2)


def test_a_retry_picks_up_the_training_of_a_killed_task_and_clearing_trains_anew(airflow: Any, tmp_path: Path) -> None:
    file = tmp_path / "trained"
    run = airflow.trigger("blocking", {"file": str(file), "seconds": 15})
    wait_for(lambda: trained(file) == 1, "the training begins")
    first = airflow.task("blocking", run, TASK)
    os.kill(first["pid"], signal.SIGKILL)

    assert airflow.wait("blocking", run) == "success"
    assert airflow.task("blocking", run, TASK)["try_number"] == 2
    assert "picking it up" in airflow.log("blocking", run, TASK, 2)
    assert trained(file) == 1
    pipeline_run = airflow.xcom("blocking", run, TASK, "run_id")

    airflow.clear("blocking", run, TASK)
    wait_for(lambda: trained(file) == 2, "the training begins again")
    assert airflow.wait("blocking", run, ("success",)) == "success"
    assert airflow.xcom("blocking", run, TASK, "run_id") != pipeline_run
    assert trained(file) == 2


@pytest.mark.parametrize("dag_id", ["dies_before_submitting", "dies_after_submitting"])
def test_a_retry_picks_up_a_run_when_the_task_died_before_it_was_ever_asked_for(
    airflow: Any, tmp_path: Path, dag_id: str
) -> None:
    file = tmp_path / "trained"
    run = airflow.trigger(dag_id, {"file": str(file), "seconds": 3})

    assert airflow.wait(dag_id, run) == "success"
    assert (tmp_path / "trained.died").exists()
    assert airflow.task(dag_id, run, TASK)["try_number"] == 2
    assert trained(file) == 1
    log = airflow.log(dag_id, run, TASK, 2)
    assert "picking it up" in log
    assert "Step finish: SUCCEEDED" in log, "the progress that the trigger reports"


def test_marking_a_deferred_task_as_failed_ends_its_processes(airflow: Any, tmp_path: Path) -> None:
    file = tmp_path / "trained"
    run = airflow.trigger("deferring", {"file": str(file), "seconds": 300})
    wait_for_the_trigger(airflow, run)
    wait_for(lambda: trained(file) == 1, "the training begins")
    pipeline_run = airflow.xcom("deferring", run, TASK, "run_id")
    assert child_processes._find(pipeline_run)

    airflow.mark("deferring", run, TASK, "failed")

    wait_for(lambda: not child_processes._find(pipeline_run), "the training's processes end")
    assert airflow.wait("deferring", run) == "failed"


def test_clearing_a_deferred_task_stops_its_training_and_begins_another(airflow: Any, tmp_path: Path) -> None:
    file = tmp_path / "trained"
    run = airflow.trigger("deferring", {"file": str(file), "seconds": 12})
    airflow.wait_for_task("deferring", run, TASK, ("deferred",))
    wait_for(lambda: trained(file) == 1, "the training begins")
    pipeline_run = airflow.xcom("deferring", run, TASK, "run_id")

    airflow.clear("deferring", run, TASK)

    wait_for(lambda: trained(file) == 2, "the training begins again")
    assert not child_processes._find(pipeline_run)
    assert airflow.wait("deferring", run) == "success"
    assert trained(file) == 2


def test_marking_a_running_task_as_failed_ends_its_processes(airflow: Any, tmp_path: Path) -> None:
    file = tmp_path / "trained"
    run = airflow.trigger("blocking", {"file": str(file), "seconds": 300})
    wait_for(lambda: trained(file) == 1, "the training begins")
    pipeline_run = airflow.xcom("blocking", run, TASK, "run_id")

    airflow.mark("blocking", run, TASK, "failed")

    wait_for(lambda: not child_processes._find(pipeline_run), "the training's processes end")


def test_a_failed_training_fails_the_task_at_once_and_says_why(airflow: Any, tmp_path: Path) -> None:
    run = airflow.trigger("deferring", {"file": str(tmp_path / "trained"), "seconds": 0, "fail": True})

    assert airflow.wait("deferring", run) == "failed"
    assert airflow.task("deferring", run, TASK)["try_number"] == 1, "the retry policy knows that a retry is useless"
    assert "column 'stars' is missing" in airflow.log("deferring", run, TASK, 1)


def test_airflow_tells_of_a_model_that_is_too_old_and_of_a_release_that_takes_too_long(
    airflow: Any, alerts: tuple[type[Listener], str]
) -> None:
    listener, _ = alerts

    def told() -> list[str]:
        return sorted(alert["title"] for alert in listener.alerts if "aged" in alert["title"])

    today = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    for model, version in (("aged", "20200101000000"), ("young", today)):
        seen = json.dumps({"live": version, "ongoing": {}})
        airflow.call("POST", "/variables", {"key": f"release_watch.{model}", "value": seen})
    slow = airflow.trigger("takes_long")
    watches = [airflow.trigger("watches") for _ in range(2)]
    wait_for(lambda: len(told()) == 2, "both alerts arrive")
    airflow.call("POST", "/variables", {"key": "may_end", "value": "yes"})
    assert [airflow.wait(*run) for run in (("takes_long", slow), *(("watches", run) for run in watches))] == [
        "success"
    ] * 3
    # Both runs of the watch have missed the same deadline; the later callback finds the alert of the other one.
    known = ("This alert has been sent already: WARNING: aged", "Another process is sending this alert: WARNING: aged")
    wait_for(lambda: any(text in airflow.output() for text in known), "the other run's deadline calls back")

    assert told()[0] == "WARNING: Release of aged has been under way for 0 min"
    assert told()[1].startswith("WARNING: aged is ")
    assert len(told()) == 2
    assert not [alert for alert in listener.alerts if "young" in alert["title"]]


def candidate_of(version: str, folder: Path) -> dict[str, str]:
    """Write a candidate and return the parameters of the run that asks about it."""
    scores = {"accuracy": 0.9, "macro_f1": 0.9, "log_loss": 0.3, "expected_calibration_error": 0.04}
    document = {
        "model": "reviews",
        "version": version,
        "archive": {"uri": f"s3://models/{version}", "sha256": "a" * 64, "size_bytes": 4_000_000},
        "metrics": {
            "candidate": {**scores, "per_class": {}, "slices": []},
            "champion": None,
            "baseline": {**scores, "macro_f1": 0.8},
        },
        "golden_examples": [],
        "serving": {"p50_ms": 5.0, "p95_ms": 8.0},
        "report_uri": f"s3://models/{version}/report/report.html",
    }
    file = folder / f"{version}.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return {"version": version, "candidate_uri": file.as_uri()}


@pytest.mark.parametrize(
    ("dag_id", "version", "answer", "after", "state", "facts"),
    [
        ("asks", "20260103000000", "Approve", "success", "candidate", {"approval": "yes", "approved_by": "Anonymous"}),
        ("asks", "20260104000000", "Reject", "skipped", "rejected", {"approval": "no", "approved_by": "Anonymous"}),
        ("asks_in_passing", "20260105000000", None, "skipped", "rejected", {"approval": "no"}),
    ],
)
def test_a_person_s_answer_decides_and_none_in_time_is_a_no(
    airflow: Any,
    alerts: tuple[type[Listener], str],
    registry: dict[str, Any],
    tmp_path: Path,
    dag_id: str,
    version: str,
    answer: str | None,
    after: str,
    state: str,
    facts: dict[str, str],
) -> None:
    run = airflow.trigger(dag_id, candidate_of(version, tmp_path))
    if answer:
        # Airflow fails a task that is answered before its scheduler has seen that the process which asked has ended.
        seen = f"state success for task instance TaskInstanceKey(dag_id='{dag_id}', task_id='approve', run_id='{run}'"
        wait_for(lambda: seen in airflow.output(), "the question is asked")
        question = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
        card = airflow.call("GET", question)["body"]
        assert "| macro f1 ↑ | 0.9000 | none | 0.8000 |" in card
        assert f"/releases/models/reviews/versions/{version}/report)" in card
        airflow.call("PATCH", question, {"chosen_options": [answer]})
    assert airflow.wait(dag_id, run) == "success"
    assert airflow.task(dag_id, run, "register")["state"] == after

    connection = Connection(conn_id="registry", conn_type="mlflow", extra=json.dumps(registry["extra"]))
    release = MlflowHook("registry", connection=connection).get_release("reviews", version)
    assert release is not None
    assert release.state == state
    told = {name: value for name, value in release.facts.items() if name.startswith("appro")}
    assert datetime.fromisoformat(told.pop("approved_at")).tzinfo == UTC
    assert told == facts
    (alert,) = [alert for alert in alerts[0].alerts if version in alert["title"]]
    assert alert["title"] == f"INFO: reviews {version} waits for an approval"
    assert f"/dags/{dag_id}/runs/{run}/tasks/approve/required_actions" in alert["message"]
