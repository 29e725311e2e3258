"""The profile `kubeflow` on a real engine: it comes up and runs tasks without TorchServe and without PyTorch.

The connections are those of the example file, whose Kubeflow nobody has: a release gets as far as saying so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.compose.stack import DAG, ROOT, Stack, installation

pytestmark = [pytest.mark.docker, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    connections = tmp_path_factory.mktemp("kubeflow") / "connections.env"
    shutil.copy(ROOT / "deploy" / "compose" / "kubeflow.env.example", connections)
    with installation("kubeflow", CONNECTIONS_FILE=str(connections)) as stack:
        yield stack


def test_everything_is_healthy_without_torchserve_and_without_trainings(stack: Stack) -> None:
    parts = ("postgres", "mlflow", "api-server", "scheduler-kubeflow", "dag-processor", "triggerer")
    assert stack.services() == dict.fromkeys(parts, "healthy")
    images = {stack.inspect(service)["Config"]["Image"].partition(":")[0] for service in parts}
    assert images == {"postgres", "kubeflow-model-release-mlflow", "kubeflow-model-release-airflow"}


def test_the_dags_can_be_read(stack: Stack) -> None:
    assert stack.api("/importErrors")["import_errors"] == []
    dags = {dag["dag_id"] for dag in stack.api("/dags")["dags"]}
    assert {DAG, DAG.replace("release_", "roll_back_", 1), "retention"} <= dags


def test_a_release_says_which_kubeflow_does_not_answer(stack: Stack) -> None:
    run = stack.release()
    assert stack.wait(run) == "failed"
    states = {
        task["task_id"]: task["state"]
        for task in stack.api(f"/dags/{DAG}/dagRuns/{run}/taskInstances")["task_instances"]
    }
    assert states["check"] == "failed", stack.why(run)
    log = stack.api(f"/dags/{DAG}/dagRuns/{run}/taskInstances/check/logs/1")
    assert "kubeflow.example.com" in str(log)
