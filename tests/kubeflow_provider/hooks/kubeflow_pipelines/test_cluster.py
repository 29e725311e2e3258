"""What the hook does in the cluster itself: logs of pods, and modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from tests.doubles.kfp_server import KfpServer
from tests.doubles.kubernetes import Cluster, Image, cluster
from tests.doubles.kubernetes.resources import PODS
from tests.kubeflow_provider.hooks.kubeflow_pipelines.conftest import MakeHook, MakeRequest
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

IMAGE = "example/release:1"
CHORE = """
import sys
print("I1122 02:00:00.000000      30 launcher_v2.go:191] publish success.")
print(*sys.argv[1:], flush=True)
if "--fail=yes" in sys.argv:
    print("row 3 has no label", file=sys.stderr)
    sys.exit(2)
"""


@pytest.fixture
def k8s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "chore.py").write_text(CHORE, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    image = Image(tmp_path / "bin", source=tmp_path / "project")
    with cluster(images={IMAGE: image}, namespace="team") as k8s:
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", k8s.connection_variable(tmp_path / "kubeconfig"))
        yield k8s


@pytest.fixture
def hook(server: KfpServer, make_hook: MakeHook, k8s: Cluster) -> KubeflowPipelinesHook:
    server.api.log_sources = set()
    return make_hook(server.url, namespace="team", kubernetes_conn_id="cluster")


def run_pod(k8s: Cluster, name: str, run_id: str, *arguments: str) -> None:
    """Run a pod of a pipeline run to its end."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    core = KubernetesHook(conn_id="cluster").core_v1_client
    core.create_namespaced_pod(
        "team",
        {
            "metadata": {"name": name, "labels": {"pipeline/runid": run_id}},
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {"name": "main", "image": IMAGE, "command": ["python", "-m", "chore", name, *arguments]}
                ],
            },
        },
    )
    wait_for(
        lambda: core.read_namespaced_pod(name, "team").status.phase in ("Succeeded", "Failed"), f"the end of {name}"
    )


def test_the_cluster_has_the_log_where_nobody_else_has_it(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, k8s: Cluster
) -> None:
    run_id = hook.create_run(make_request()).run_id
    server.script(run_id, [{"state": "FAILED", "steps": [("record", "SUCCEEDED"), ("finish", "FAILED")]}])
    run_pod(k8s, "wf-system-container-driver-1", run_id, "--fail=yes")
    run_pod(k8s, "wf-system-container-impl-2", run_id, "--fail=yes")
    run_pod(k8s, "wf-system-container-impl-3", run_id)
    run_pod(k8s, "other-system-container-impl-4", "another-run", "--fail=yes")

    run = hook.get_run(run_id)

    assert run is not None
    assert run.reason == "Step 'finish' failed: row 3 has no label"
    assert hook.get_run_log(run_id) == "wf-system-container-impl-2 --fail=yes\nrow 3 has no label"


def test_no_log_is_no_error(
    server: KfpServer, hook: KubeflowPipelinesHook, make_request: MakeRequest, k8s: Cluster
) -> None:
    run_id = hook.create_run(make_request()).run_id
    server.script(run_id, [{"state": "FAILED", "steps": [("finish", "FAILED")]}])

    assert hook.get_run_log(run_id) == ""
    k8s.server.stop()
    assert hook.get_run_log(run_id) == ""


def test_what_a_pod_of_a_run_waits_for_is_known(
    hook: KubeflowPipelinesHook, k8s: Cluster, server: KfpServer, make_hook: MakeHook
) -> None:
    k8s.faults.unschedulable()
    pod = {
        "metadata": {"name": "wf-impl-1", "namespace": "team", "labels": {"pipeline/runid": "a"}},
        "spec": {"containers": [{"name": "main", "image": IMAGE}]},
    }
    k8s.store.create(PODS, pod, "team")
    wait_for(lambda: hook.waits_for("a"), "the scheduler's word")

    assert hook.waits_for("a") == (
        "Pod wf-impl-1 waits for a node: Unschedulable: 0/1 nodes are available: 1 Insufficient memory. preemption: "
        "0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )
    assert hook.waits_for("another-run") is None
    assert make_hook(server.url, namespace="team").waits_for("a") is None, "nothing leads to the cluster"
    k8s.server.stop()
    assert hook.waits_for("a") is None, "it is an extra"


def test_a_module_runs_in_a_pod_of_the_namespace(hook: KubeflowPipelinesHook, k8s: Cluster) -> None:
    hook.run_module("chore", {"fail": "no", "empty": ""}, timeout_seconds=60, cluster={"image": IMAGE})
    with pytest.raises(InvalidRequestError, match="row 3 has no label"):
        hook.run_module("chore", {"fail": "yes"}, timeout_seconds=60, cluster={"image": IMAGE})
    hook.terminate_module()


def test_a_module_needs_an_image(hook: KubeflowPipelinesHook) -> None:
    with pytest.raises(InvalidRequestError, match="image"):
        hook.run_module("chore", {}, timeout_seconds=60)
