"""A module runs in a pod: its output and its last words come back, and there are never two pods of one task."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
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
from tests.doubles.kubernetes import Cluster, Image, cluster
from tests.doubles.kubernetes.resources import CONFIG_MAPS, PODS
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.processes

IMAGE = "example/release:1"
CHORE = """
import json, os, sys, time
arguments = dict(item[2:].split("=", 1) for item in sys.argv[1:])
print("arguments", json.dumps(arguments, sort_keys=True))
print("environment", *(f"{name}={os.environ.get(name)}" for name in ("REGION", "KEY", "MODE", "NOTHING")))
what = arguments["do"]
if what == "write":
    with open(arguments["to"], "w") as file:
        file.write("written")
if what == "sleep":
    time.sleep(60)
if what.isdigit():
    print("row 3 of train.csv has no label", file=sys.stderr)
    sys.exit(int(what))
"""


SLEEP = time.sleep


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_pod, "_POLL_SECONDS", 0.05)
    # PodManager looks at a pod that is not over once in two seconds, a constant of its own.
    monkeypatch.setattr("airflow.providers.cncf.kubernetes.utils.pod_manager.time.sleep", lambda seconds: SLEEP(0.02))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "chore.py").write_text(CHORE, encoding="utf-8")
    return folder


@pytest.fixture
def k8s(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    image = Image(tmp_path / "bin", source=project)
    with cluster(images={IMAGE: image}, claims={"models": tmp_path / "models"}) as k8s:
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", k8s.connection_variable(tmp_path / "kubeconfig"))
        yield k8s


def module(**settings: Any) -> ModulePod:
    return ModulePod(settings=ClusterSettings.from_mapping({"image": IMAGE} | settings), kubernetes_conn_id="cluster")


def wait_for_pods(k8s: Cluster, phase: str = "Running") -> list[dict[str, Any]]:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (pods := [pod for pod in k8s.pods() if pod.get("status", {}).get("phase") == phase]):
        assert time.monotonic() < deadline, f"pods: {k8s.pods()}"
        SLEEP(0.02)
    return pods


@pytest.fixture
def made(k8s: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return a list that gets every pod when it is made, with ``beside``: how many others there were."""
    pods: list[dict[str, Any]] = []
    create = k8s.store.create

    def create_and_note(resource: Any, *arguments: Any, **options: Any) -> Any:
        beside = len(k8s.pods())
        new = create(resource, *arguments, **options)
        if resource == PODS:
            pods.append(new | {"beside": beside})
        return new

    monkeypatch.setattr(k8s.store, "create", create_and_note)
    return pods


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
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
    assert "hunter2" not in json.dumps(made[0])


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
        ({"node_selector": {"pool": "none"}}, r"Unschedulable: 0/1 nodes are available"),
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
    assert [pod for pod in k8s.pods() if not pod["metadata"].get("deletionTimestamp")] == []


def test_an_image_is_needed(k8s: Cluster) -> None:
    with pytest.raises(InvalidRequestError, match=r"cluster\.image: chore needs an image"):
        module(image=None).run("chore", {"do": "it"}, timeout_seconds=60)
    assert k8s.pods() == []


def test_a_missing_right_and_a_full_quota_are_told_apart(k8s: Cluster) -> None:
    k8s.faults.forbid("create", "pods")
    with pytest.raises(PermissionDeniedError, match=r"'cluster'.*cannot create resource \"pods\".*deploy/"):
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
    pod.stop()  # nothing is running

    def stop() -> None:
        wait_for_pods(k8s)
        pod.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KubeflowProviderError, match=r"^chore was stopped\.$"):
        pod.run("chore", {"do": "sleep"}, timeout_seconds=600)
    stopper.join()
    pod.run("chore", {"do": "it"}, timeout_seconds=60)  # the same object can be used again


def test_a_module_that_is_stopped_while_its_pod_is_being_made_does_not_run(
    k8s: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, start = module(), module_pod._start

    def start_and_stop(*arguments: Any) -> None:
        pod.stop()
        start(*arguments)

    monkeypatch.setattr(module_pod, "_start", start_and_stop)
    with pytest.raises(KubeflowProviderError, match=r"^chore was stopped\.$"):
        pod.run("chore", {"do": "sleep"}, timeout_seconds=600)


def test_a_retry_waits_for_the_pod_of_a_try_whose_worker_died(
    k8s: Cluster, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, died: Any
) -> None:
    in_task(monkeypatch)
    left = died(module(), {"do": "sleep"})
    in_task(monkeypatch, try_number=2)
    retry, outcome = module(), module_pod._outcome

    def stop_and_wait(*arguments: Any) -> Any:
        assert [pod["metadata"]["uid"] for pod in k8s.pods()] == [left["metadata"]["uid"]]
        threading.Thread(target=retry.stop).start()
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
    monkeypatch.setattr(module_pod, "GONE_SECONDS", 0.1)

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
