"""A training on this machine is no child of the task that asked for it: it outlives that, and is found again.

What users and limits do to a task is told on Kubeflow in ``test_kubeflow_faults.py``, and for this service on the
operator in ``tests/kubeflow_provider/operators/test_pipelines.py``.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.airflow_server import AirflowServer, Serve
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.airflow, pytest.mark.pipelines]

DAG, TASK = "trains_here", "train"
DAGS = """
    from datetime import timedelta

    from airflow.sdk import DAG

    from model_releases.exceptions import RETRY_POLICY
    from kubeflow_provider.operators.pipelines import RunPipelineOperator

    with DAG("trains_here", schedule=None, params={"file": "", "seconds": 1.0, "fail": False}):
        RunPipelineOperator(
            task_id="train",
            pipeline_file=PIPELINE,
            parameters={"file": "{{ params.file }}", "seconds": "{{ params.seconds }}", "fail": "{{ params.fail }}"},
            pipelines_conn_id="local_runs",
            deferrable=False,
            retries=2,
            retry_delay=timedelta(seconds=1),
            retry_policy=RETRY_POLICY,
        )
"""


@pytest.fixture(scope="module")
def airflow(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory, pipelines_python: str, record_and_wait: str
) -> AirflowServer:
    runs = tmp_path_factory.mktemp("runs")
    extra = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(runs)}
    connections = {"local_runs": {"conn_type": "local_pipelines", "extra": extra}}
    return serve({"local_runs.py": DAGS.replace("PIPELINE", repr(record_and_wait))}, connections, (DAG,))


def trained(file: Path) -> int:
    """Return how often the training has begun."""
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_retry_picks_up_the_training_of_a_killed_task_and_clearing_trains_anew(
    airflow: AirflowServer, tmp_path: Path
) -> None:
    file = tmp_path / "trained"
    run = airflow.trigger(DAG, {"file": str(file), "seconds": 6})
    wait_for(lambda: trained(file) == 1, "the training begins")
    first: dict[str, Any] = airflow.task(DAG, run, TASK)
    os.kill(first["pid"], signal.SIGKILL)

    assert airflow.wait(DAG, run) == "success"
    assert airflow.task(DAG, run, TASK)["try_number"] == 2
    assert "picking it up" in airflow.log(DAG, run, TASK, 2)
    assert trained(file) == 1
    pipeline_run = airflow.xcom(DAG, run, TASK, "run_id")

    airflow.clear(DAG, run, TASK)
    wait_for(lambda: trained(file) == 2, "the training begins again")
    assert airflow.wait(DAG, run, ("success",)) == "success"
    assert airflow.xcom(DAG, run, TASK, "run_id") != pipeline_run
    assert trained(file) == 2


def test_a_failed_training_fails_the_task_at_once_and_says_why(airflow: AirflowServer, tmp_path: Path) -> None:
    run = airflow.trigger(DAG, {"file": str(tmp_path / "trained"), "seconds": 0, "fail": True})

    assert airflow.wait(DAG, run) == "failed"
    assert airflow.task(DAG, run, TASK)["try_number"] == 1, "the retry policy knows that a retry is useless"
    assert "column 'stars' is missing" in airflow.log(DAG, run, TASK, 1)
