"""What happens to a training when Airflow's processes die, and when a user clears or fails its task."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider import child_processes

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


@pytest.fixture(scope="module")
def airflow(
    airflow_server: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    pipelines_python: str,
    record_and_wait: str,
) -> Any:
    folder = tmp_path_factory.mktemp("crashes")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "crashes.py").write_text(textwrap.dedent(DAGS))
    extra = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(folder / "runs")}
    env = {
        "AIRFLOW_CONN_PIPELINES_TEST": json.dumps({"conn_type": "local_pipelines", "extra": extra}),
        "TEST_PIPELINE": record_and_wait,
    }
    return airflow_server(
        dags, env, dag_ids=("blocking", "deferring", "dies_before_submitting", "dies_after_submitting")
    )


def trained(file: Path) -> int:
    """Return how often the training has begun."""
    return len(file.read_text().splitlines()) if file.exists() else 0


def wait_for(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
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
    airflow.wait_for_task("deferring", run, TASK, ("deferred",))
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
