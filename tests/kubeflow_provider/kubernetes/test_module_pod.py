"""A module runs in a pod: its output and its last words come back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from kubeflow_provider.kubernetes import module_pod
from kubeflow_provider.kubernetes.module_pod import ModulePod
from kubeflow_provider.kubernetes.settings import ClusterSettings
from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes.resources import CONFIG_MAPS, PODS
from tests.kubeflow_provider.kubernetes.conftest import IMAGE, module, wait_for_pods
from tests.pod_security import violations
from tests.rights import MODULES, rights

pytestmark = pytest.mark.processes

EVENTS = ("", "events", "list")


def test_output_goes_to_the_task_log_and_no_pod_stays_behind(k8s: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"do": "it", "empty": "", "text": 'a "b" $HOME $(HOME) $$'}

    module().run("chore", arguments, timeout_seconds=60)

    assert f"arguments {json.dumps({'do': 'it', 'text': arguments['text']})}" in capsys.readouterr().out
    assert [pod for pod in k8s.pods() if not pod["metadata"].get("deletionTimestamp")] == []


def test_settings_reach_the_pod(
    k8s: Cluster, made: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    k8s.add_secret("s3", {"id": "hunter2"})
    k8s.store.create(CONFIG_MAPS, {"metadata": {"name": "modes"}, "data": {"mode": "fast"}}, k8s.namespace)
    pod = module(
        volumes=[{"claim": "models", "mount_path": "/mnt/models", "sub_path": "reviews"}],
        secrets=[
            {"name": "s3", "keys": {"id": "KEY"}},
            {"name": "none", "keys": {"id": "NOTHING"}, "optional": True},
        ],
        config_maps=[{"name": "modes", "keys": {"mode": "MODE"}}],
        env={"REGION": "eu"},
        service_account="default",
        node_selector={"pool": "cpu"},
        tolerations=[{"key": "team", "operator": "Exists", "effect": "NoExecute", "seconds": 5}],
        run_as_user=1000,
        run_as_group=2000,
        image_pull_secrets=["registry"],
        module_pod={"cpu": "500m", "memory": "1Gi"},
    )
    (tmp_path / "models" / "reviews").mkdir(parents=True)
    pod.run("chore", {"do": "write", "to": "/mnt/models/file"}, timeout_seconds=60)

    assert (tmp_path / "models" / "reviews" / "file").read_text() == "written"
    assert "environment REGION=eu KEY=hunter2 MODE=fast NOTHING=None" in capsys.readouterr().out
    spec = made[0]["spec"]
    container = spec["containers"][0]
    assert spec["serviceAccountName"] == "default"
    assert spec["nodeSelector"] == {"pool": "cpu"}
    assert {"key": "team", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5} in spec["tolerations"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["securityContext"] == {
        "runAsUser": 1000, "runAsGroup": 2000, "runAsNonRoot": True, "fsGroup": 2000,
        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
    assert "hunter2" not in json.dumps(made[0])
    # Events are listed while a pod waits, which this one may not have done.
    assert k8s.faults.asked | {EVENTS} == rights(MODULES)


@pytest.mark.parametrize(
    ("settings", "group"),
    [
        ({}, None),
        ({"volumes": [{"claim": "models", "mount_path": "/mnt/models"}]}, 0),
        ({"run_as_user": 1000, "run_as_group": 2000, "service_account": "team"}, 2000),
    ],
)
def test_a_namespace_that_enforces_restricted_takes_the_pod_and_no_token_is_in_it(
    k8s: Cluster, settings: dict[str, Any], group: int | None
) -> None:
    spec = module(**settings).prepare("chore", {}, timeout_seconds=60)["spec"]

    assert violations(spec) == []
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"].get("fsGroup") == group


def test_input_that_must_be_mended_is_an_invalid_request(k8s: Cluster) -> None:
    with pytest.raises(InvalidRequestError, match=r"^row 3 of train\.csv has no label$"):
        module().run("chore", {"do": "2"}, timeout_seconds=60)


def test_another_exit_code_is_an_error(k8s: Cluster) -> None:
    with pytest.raises(KubeflowProviderError, match=r"^chore exited with 3: row 3 of train\.csv has no label$"):
        module().run("chore", {"do": "3"}, timeout_seconds=60)


def test_a_module_that_takes_too_long_is_ended_by_the_cluster(k8s: Cluster) -> None:
    with pytest.raises(KubeflowProviderError, match=r"^chore took longer than 10 s; stopped\.$"):
        module().run("chore", {"do": "sleep"}, timeout_seconds=10)  # the double's seconds are shorter


def test_memory_that_ran_out_is_told_with_what_to_do(k8s: Cluster) -> None:
    k8s.faults.out_of_memory()

    with pytest.raises(KubeflowProviderError, match=r"ran out of memory; raise `cluster\.module_pod\.memory`"):
        module().run("chore", {"do": "sleep"}, timeout_seconds=60)


def test_a_missing_image_is_told_at_once(k8s: Cluster) -> None:
    with pytest.raises(KubeflowProviderError, match=r"chore did not start: (ErrImagePull|ImagePullBackOff): .*none:1"):
        module(image="example/none:1").run("chore", {"do": "it"}, timeout_seconds=60)
    assert [pod for pod in k8s.pods() if not pod["metadata"].get("deletionTimestamp")] == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"node_selector": {"pool": "none"}}, r"Unschedulable: 0/1 nodes are available.*Ask for less \(`cl"),
        ({"volumes": [{"claim": "none", "mount_path": "/mnt"}]}, r"Unschedulable: .*\"none\" not found"),
        ({"secrets": [{"name": "none", "keys": {"a": "A"}}]}, r"CreateContainerConfigError: secret \"none\" not found"),
    ],
)
def test_what_keeps_a_pod_from_starting_is_told(
    k8s: Cluster, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr(module_pod, "START_SECONDS", 1)
    if "node_selector" in settings:
        k8s.faults.unschedulable()

    with pytest.raises(KubeflowProviderError, match=f"chore did not start: {reason}"):
        module(**settings).run("chore", {"do": "it"}, timeout_seconds=60)
    assert EVENTS in k8s.faults.asked
    assert [pod for pod in k8s.pods() if not pod["metadata"].get("deletionTimestamp")] == []


def test_an_image_is_needed(k8s: Cluster) -> None:
    with pytest.raises(InvalidRequestError, match=r"cluster\.image: chore needs an image"):
        module(image=None).run("chore", {"do": "it"}, timeout_seconds=60)
    assert k8s.pods() == []


def test_a_missing_right_and_a_full_quota_are_told_apart(k8s: Cluster) -> None:
    k8s.faults.forbid("create", "pods")
    with pytest.raises(PermissionDeniedError, match=r"'cluster'.*cannot create resource \"pods\".*modules\.md#rights"):
        module().run("chore", {"do": "it"}, timeout_seconds=60)
    k8s.faults.heal()
    k8s.faults.over_quota()
    with pytest.raises(ServiceUnavailableError, match="exceeded quota: compute"):
        module().run("chore", {"do": "it"}, timeout_seconds=60)


def test_an_unknown_connection_is_named(k8s: Cluster) -> None:
    pod = ModulePod(settings=ClusterSettings(image=IMAGE), kubernetes_conn_id="nowhere")

    with pytest.raises(InvalidRequestError, match=r"no way to a Kubernetes cluster .*: check connection 'nowhere'"):
        pod.run("chore", {"do": "it"}, timeout_seconds=60)


def test_a_pod_that_somebody_deletes_is_missed(k8s: Cluster) -> None:
    def delete() -> None:
        name = wait_for_pods(k8s)[0]["metadata"]["name"]
        k8s.store.delete(PODS, k8s.namespace, name, grace_seconds=0)

    threading.Thread(target=delete).start()
    with pytest.raises(KubeflowProviderError, match="chore is gone: its pod models/chore-") as failure:
        module().run("chore", {"do": "sleep"}, timeout_seconds=600)
    assert type(failure.value) is KubeflowProviderError  # worth another try


def test_a_module_can_be_stopped(k8s: Cluster) -> None:
    pod = module()
    pod.terminate()  # nothing is running

    def stop() -> None:
        wait_for_pods(k8s)
        pod.terminate()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KubeflowProviderError, match=r"^chore was stopped\.$"):
        pod.run("chore", {"do": "sleep"}, timeout_seconds=600)
    stopper.join()
    pod.run("chore", {"do": "it"}, timeout_seconds=60)  # the same object can be used again


def test_a_module_that_is_stopped_while_its_pod_is_being_made_does_not_run(
    k8s: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, start = module(), module_pod.start

    def start_and_stop(*arguments: Any) -> None:
        pod.terminate()
        start(*arguments)

    monkeypatch.setattr(module_pod, "start", start_and_stop)
    with pytest.raises(KubeflowProviderError, match=r"^chore was stopped\.$"):
        pod.run("chore", {"do": "sleep"}, timeout_seconds=600)


def test_a_cluster_that_does_not_answer_is_unavailable_and_the_pod_goes_on(
    k8s: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager

    monkeypatch.setattr(PodManager.read_pod.retry, "stop", lambda state: True)  # type: ignore[attr-defined]
    stop = threading.Event()

    def cut() -> None:
        wait_for_pods(k8s)
        k8s.faults.http("GET", "/pods", status=503, times=10_000)
        stop.set()

    threading.Thread(target=cut).start()
    with pytest.raises(ServiceUnavailableError):
        module().run("chore", {"do": "sleep"}, timeout_seconds=600)
    assert stop.is_set()
    assert len(k8s.pods()) == 1, "whether it is still running or not: nobody has deleted it"


@pytest.mark.airflow
def test_a_pod_in_a_task_says_whose_it_is(
    k8s: Cluster, made: list[dict[str, Any]], run_dag: Callable[..., Any]
) -> None:
    from airflow.sdk import DAG, task

    @task(retries=1)
    def chore() -> None:
        module().run("chore", {"do": "it"}, timeout_seconds=60)

    with DAG("pods_of_a_task", schedule=None) as dag:
        chore()
    assert run_dag(dag).state == "success"
    labels = made[0]["metadata"]["labels"]
    assert labels["dag_id"] == "pods_of_a_task"
    assert labels["task_id"] == "chore"
