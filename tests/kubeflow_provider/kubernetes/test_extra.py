"""What needs Kubernetes says which extra brings it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kubeflow_pipelines import pods
from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.kubernetes import extra
from kubeflow_provider.kubernetes.errors import typed_errors


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away what the extra brings."""
    monkeypatch.setattr(extra, "_MODULE", "airflow.providers.none.such")
    extra.is_installed.cache_clear()
    yield
    extra.is_installed.cache_clear()


def test_whoever_asks_kubernetes_is_told_what_to_install(plain: None) -> None:
    with (
        pytest.raises(
            InvalidRequestError, match=r"To delete pod x, Airflow's provider for Kubernetes is needed.*\[kub"
        ),
        typed_errors("delete pod x"),
    ):
        raise AssertionError("not reached")


def test_pods_are_left_out_of_what_is_told_of_a_run(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = pods.RunPods(PipelinesSettings(namespace="team", kubernetes_conn_id="cluster"))

    assert asked.log("r", last_lines=1, most_bytes=1) == ""
    assert asked.waits_for("r") is None


def test_a_module_in_a_pod_needs_the_extra(plain: None) -> None:
    from airflow.sdk import Connection

    hook = KubeflowPipelinesHook(
        "c", connection=Connection(conn_id="c", conn_type="kubeflow_pipelines", host="http://x")
    )
    with pytest.raises(InvalidRequestError, match=r"To prepare m in a pod, .*\[kubernetes\]"):
        hook.prepare_module("m", {}, timeout_seconds=1, cluster={"image": "i"})
