"""There are never two pods of one task: a try finds what the one before has left."""

from __future__ import annotations

import json
import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.exceptions import (
    KubeflowProviderError,
    OutageError,
    ServiceUnavailableError,
)
from kubeflow_provider.kubernetes import module_pod, pod_start
from kubeflow_provider.kubernetes.module_pod import ModulePod
from tests.doubles.kubernetes import Cluster
from tests.kubeflow_provider.kubernetes.conftest import module, wait_for_pods

pytestmark = pytest.mark.processes


@pytest.fixture
def died(monkeypatch: pytest.MonkeyPatch, k8s: Cluster) -> Any:
    """Return ``died(pod, arguments)``: a try whose worker dies when its pod has come to a phase."""

    class WorkerDied(BaseException):
        pass

    def run(pod: ModulePod, arguments: dict[str, str], phase: str = "Running") -> dict[str, Any]:
        def die(*_: Any) -> None:
            wait_for_pods(k8s, phase)
            raise WorkerDied

        with monkeypatch.context() as patched, pytest.raises(WorkerDied):
            patched.setattr(module_pod, "_outcome", die)
            pod.run("chore", arguments, timeout_seconds=60)
        return wait_for_pods(k8s, phase)[0]

    return run


def in_task(monkeypatch: pytest.MonkeyPatch, *, max_tries: int = 2, try_number: int = 1, map_index: int = -1) -> None:
    instance = SimpleNamespace(
        dag_id="release", task_id="preprocess", run_id="r 1", map_index=map_index, try_number=try_number,
        max_tries=max_tries,
    )  # fmt: skip
    context = {"ti": instance, "task": SimpleNamespace(retries=2), "run_id": "r 1", "dag": SimpleNamespace()}
    monkeypatch.setattr(module_pod, "get_current_context", lambda: context)


def test_a_retry_waits_for_the_pod_of_a_try_whose_worker_died(
    k8s: Cluster, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, died: Any
) -> None:
    in_task(monkeypatch)
    left = died(module(), {"do": "sleep"})
    in_task(monkeypatch, try_number=2)
    retry, outcome = module(), module_pod._outcome

    def stop_and_wait(*arguments: Any) -> Any:
        assert [pod["metadata"]["uid"] for pod in k8s.pods()] == [left["metadata"]["uid"]]
        threading.Thread(target=retry.terminate).start()
        return outcome(*arguments)

    monkeypatch.setattr(module_pod, "_outcome", stop_and_wait)
    with pytest.raises(KubeflowProviderError, match=r"^chore was stopped\.$"):
        retry.run("chore", {"do": "sleep"}, timeout_seconds=60)
    assert len(made) == 1


def test_a_retry_takes_the_result_of_a_pod_that_succeeded_meanwhile(
    k8s: Cluster, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, died: Any
) -> None:
    died(module(), {"do": "it"}, phase="Succeeded")

    module().run("chore", {"do": "it"}, timeout_seconds=60)

    assert len(made) == 1


def test_a_retry_does_not_take_the_result_of_a_pod_that_failed(
    k8s: Cluster, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, died: Any
) -> None:
    died(module(), {"do": "3"}, phase="Failed")

    with pytest.raises(KubeflowProviderError, match="chore exited with 3"):
        module().run("chore", {"do": "3"}, timeout_seconds=60)

    assert len(made) == 2


@pytest.mark.parametrize("changed", ["cleared", "settings", "arguments"])
def test_another_call_of_the_same_task_deletes_the_pod_first(
    k8s: Cluster, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, died: Any, changed: str
) -> None:
    in_task(monkeypatch)
    died(module(), {"do": "sleep"})
    if changed == "cleared":
        in_task(monkeypatch, max_tries=5)
    again = module(env={"MODE": "new"} if changed == "settings" else {})
    with pytest.raises(KubeflowProviderError, match="took longer"):
        again.run("chore", {"do": "sleep", "more": "x" if changed == "arguments" else ""}, timeout_seconds=10)

    assert [pod["beside"] for pod in made] == [0, 0]  # the old pod was gone when the new one was made


def test_no_second_pod_is_started_beside_one_that_does_not_go(
    k8s: Cluster, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, died: Any
) -> None:
    from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager

    died(module(), {"do": "sleep"})
    monkeypatch.setattr(PodManager, "delete_pod", lambda *_: None)
    monkeypatch.setattr(pod_start, "GONE_SECONDS", 0.1)

    with pytest.raises(ServiceUnavailableError, match=r"is still there; `kubectl describe pod`"):
        module(env={"MODE": "new"}).run("chore", {"do": "sleep"}, timeout_seconds=60)
    assert len(made) == 1


def test_tasks_do_not_take_each_others_pods(
    k8s: Cluster, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, died: Any
) -> None:
    in_task(monkeypatch, map_index=0)
    died(module(), {"do": "sleep"})
    in_task(monkeypatch, map_index=1)

    with pytest.raises(KubeflowProviderError, match="took longer"):
        module().run("chore", {"do": "sleep"}, timeout_seconds=10)

    assert len(made) == 2


def test_a_pod_whose_making_was_answered_by_nobody_is_found(
    k8s: Cluster, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    k8s.faults.http("POST", "/pods", status=-1)

    module().run("chore", {"do": "it"}, timeout_seconds=60)

    assert len(made) == 1


def test_an_outage_is_waited_for_as_long_as_the_clusters_connection_says(
    k8s: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_CLUSTER"])
    connection["extra"]["outage_seconds"] = 7
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
    k8s.faults.http("GET", "/pods", status=503, times=100)

    with pytest.raises(OutageError) as away:
        module().run("chore", {"do": "it"}, timeout_seconds=60)
    assert away.value.budget_seconds == 7
