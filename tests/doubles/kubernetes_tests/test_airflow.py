"""Airflow's Kubernetes provider works on the double unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes_tests.conftest import IMAGE


@pytest.fixture
def kubernetes_connection(k8s: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_TEST", k8s.connection_variable(tmp_path / "kubeconfig"))
    return "kubernetes_test"


def run_pod(run_dag: Callable[..., Any], conn_id: str, code: str, **options: Any) -> Any:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from airflow.sdk import DAG

    with DAG("a_pod", schedule=None) as dag:
        KubernetesPodOperator(
            task_id="pod",
            kubernetes_conn_id=conn_id,
            image=IMAGE,
            cmds=["python", "-c"],
            arguments=[code],
            startup_check_interval_seconds=1,
            base_container_status_polling_interval=0.2,
            **options,
        )
    return run_dag(dag)


def test_the_connection_works(kubernetes_connection: str) -> None:
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    assert KubernetesHook(conn_id=kubernetes_connection).test_connection()[0]


def test_a_pod_operator_runs_its_pod_and_logs_what_it_prints(
    run_dag: Callable[..., Any], kubernetes_connection: str, k8s: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    run = run_pod(run_dag, kubernetes_connection, "print('hello from the pod')")

    assert run.state == "success"
    assert "hello from the pod" in "".join(capfd.readouterr())
    assert k8s.pods() == []


def test_a_pod_operator_fails_with_its_pod(
    run_dag: Callable[..., Any], kubernetes_connection: str, k8s: Cluster
) -> None:
    run = run_pod(run_dag, kubernetes_connection, "raise SystemExit(2)", on_finish_action="keep_pod")

    assert run.state == "failed"
    assert k8s.pods()[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 2
