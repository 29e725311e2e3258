"""A namespace that is closed by default lets through what a release needs, and nothing else."""

from __future__ import annotations

import pytest

from kubeflow_provider.hooks._kserve.record import MANAGED_BY
from kubeflow_provider.kubernetes.pod_start import CALL_LABEL
from tests.network_policies import Peer, may_connect
from tests.rights import documents

POLICIES = documents("network-policies.yaml", "kserve/network-policy.yaml")

MODULE = Peer("team", {CALL_LABEL: "1"})
STEP = Peer("team", {"pipeline/runid": "1"})
NODE = Peer("team", {"pipeline/runid": "1", "kubeflow-model-release/training-node": "true"})
PREDICTOR = Peer("team", {**MANAGED_BY, "component": "predictor"})
SOMEBODY = Peer("team", {"app": "notebook"})
ARTIFACTS = Peer("team", {"app": "ml-pipeline-ui-artifact"})
AIRFLOW, GATEWAY = Peer("airflow"), Peer("istio-system")
KUBEFLOW, STORAGE, MLFLOW, DNS = Peer("kubeflow"), Peer("storage"), Peer("mlflow"), Peer("kube-system")
INTERNET = Peer()


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        *((pod, INTERNET, 443) for pod in (MODULE, STEP, PREDICTOR)),
        *((pod, STORAGE, 9000) for pod in (MODULE, STEP, PREDICTOR)),
        *((NODE, NODE, port) for port in (29500, 40000)),
        (NODE, INTERNET, 443),
        (NODE, MLFLOW, 5000),
        (STEP, MLFLOW, 5000),
        (STEP, KUBEFLOW, 8887),
        (STEP, PREDICTOR, 8080),
        (STEP, GATEWAY, 8080),
        (AIRFLOW, PREDICTOR, 8080),
        (GATEWAY, PREDICTOR, 8012),
        (AIRFLOW, PREDICTOR, 8082),
        (KUBEFLOW, ARTIFACTS, 3000),
        (PREDICTOR, Peer("knative-serving"), 8080),
    ],
)
def test_what_a_release_needs_is_let_through(source: Peer, target: Peer, port: int) -> None:
    assert may_connect(POLICIES, source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        *((AIRFLOW, PREDICTOR, port) for port in (7070, 7071, 8081, 8085, 8086)),
        *((AIRFLOW, pod, 8080) for pod in (MODULE, STEP, SOMEBODY)),
        *((pod, INTERNET, 80) for pod in (MODULE, STEP, PREDICTOR)),
        *((pod, AIRFLOW, 8080) for pod in (MODULE, STEP, PREDICTOR)),
        *((pod, NODE, 29500) for pod in (STEP, SOMEBODY, AIRFLOW, MODULE)),
        (NODE, SOMEBODY, 8080),
        (MODULE, PREDICTOR, 8080),
        (MODULE, KUBEFLOW, 8888),
        (PREDICTOR, KUBEFLOW, 8888),
        (PREDICTOR, MLFLOW, 5000),
        (SOMEBODY, INTERNET, 443),
    ],
)
def test_nothing_else_is(source: Peer, target: Peer, port: int) -> None:
    assert not may_connect(POLICIES, source, target, port)


def test_names_are_looked_up_by_all() -> None:
    assert all(may_connect(POLICIES, pod, DNS, 53, "UDP") for pod in (MODULE, STEP, PREDICTOR, SOMEBODY))


def test_without_the_default_the_pods_of_releases_are_closed_all_the_same() -> None:
    alone = documents("kserve/network-policy.yaml")
    assert may_connect(alone, AIRFLOW, PREDICTOR, 8080)
    assert not may_connect(alone, AIRFLOW, PREDICTOR, 8085)
    assert not may_connect(alone, PREDICTOR, MLFLOW, 5000)
