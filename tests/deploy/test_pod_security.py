"""Every pod that is ours runs in a namespace that enforces the Pod Security Standard ``restricted``.

The pods of modules are judged where they are made.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml

from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.release_in_kubeflow.steps import predictor_of
from kubeflow_provider.hooks._kserve.releases.specs import as_candidate, for_users, predictor
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from tests.doubles.kubernetes.kserve.definitions import RUNTIMES
from tests.doubles.kubernetes.kserve.templates import INITIALIZER_IMAGE, render
from tests.doubles.kubernetes.resources import NAMESPACES
from tests.doubles.kubernetes.store import Store
from tests.kserve_support import version_of
from tests.pod_security import CONTAINER_RULES, POD_RULES, violations
from tests.rights import DEPLOY, documents
from tests.toy_package import publish

VERSION = "20260101000000"


def predictor_pod(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the pod that KServe makes of a predictor and of our runtime.

    Its own container for fetching the package takes the security context of the model's container.
    """
    store = Store()
    store.resources.append(RUNTIMES)
    (runtime,) = documents("serving-runtime.yaml")
    store.create(NAMESPACES, {"metadata": {"name": "team"}}, "")
    store.create(RUNTIMES, runtime, "team")
    service = {"metadata": {"name": "reviews", "namespace": "team"}}
    pod: dict[str, Any] = render(store, service, spec)["spec"]
    for each in pod.get("initContainers", ()):
        if each["image"] == INITIALIZER_IMAGE:
            each["securityContext"] = deepcopy(pod["containers"][0]["securityContext"])
    return pod


@pytest.fixture
def predictors(tmp_path: Any) -> dict[str, dict[str, Any]]:
    """Return what each of the two ways of releasing gives KServe."""
    candidate = TextClassifierCandidate.read(
        publish(tmp_path, model="reviews", version=VERSION), where="made in a test"
    )
    moved = candidate.model_copy(
        update={"archive": candidate.archive.model_copy(update={"uri": "s3://models/reviews/package"})}
    )
    resources = {"cpu": "1", "memory": "2Gi"}
    model = version_of("reviews", VERSION, service_account="models-s3", env={"A": "b"})
    spec = predictor(model, PredictorSettings.of(model.settings), mode=None)
    return {
        "for users": for_users(spec, None),
        "candidate": as_candidate(spec),
        "without Airflow": predictor_of(
            moved,
            volume="models",
            runtime="kubeflow-model-release",
            service_account="models-s3",
            resources=resources,
            min_replicas=1,
        ),
    }


def test_a_predictor_is_restricted_and_has_the_digest_and_no_token(predictors: dict[str, dict[str, Any]]) -> None:
    for name, spec in predictors.items():
        pod = predictor_pod(spec)
        assert violations(pod) == [], name
        assert pod["automountServiceAccountToken"] is False, name
        assert "ARCHIVE_SHA256" in {entry["name"] for entry in pod["containers"][0]["env"]}, name


def test_the_examples_of_predictors_are_restricted_and_have_no_token() -> None:
    examples = [
        document["spec"]["predictor"]
        for file in sorted(DEPLOY.glob("kserve/*.example.yaml"))
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document["kind"] == "InferenceService"
    ]
    assert len(examples) == 4
    for spec in examples:
        pod = predictor_pod(spec)
        assert violations(pod) == []
        assert pod["automountServiceAccountToken"] is False


def test_airflows_own_pods_are_restricted() -> None:
    (values,) = documents("helm-values.yaml")
    contexts = values["securityContexts"]
    container = {"name": "airflow", "securityContext": contexts["containers"]}
    assert violations({"securityContext": contexts["pod"], "containers": [container]}) == []
    assert not [key for part in values.values() if isinstance(part, dict) for key in part if key == "securityContext"]


def test_the_pods_of_what_runs_beside_serving_are_restricted_and_have_no_token() -> None:
    pods = [
        document["spec"]["template"]["spec"]
        for file in sorted(DEPLOY.rglob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document.get("kind") == "Deployment"
    ]
    assert len(pods) == 1
    for pod in pods:
        assert violations(pod) == []
        assert pod["automountServiceAccountToken"] is False


def test_the_nodes_of_a_training_are_restricted_and_have_no_token() -> None:
    (runtime,) = documents("training-runtime.yaml")
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]

    assert violations(pod) == []
    assert pod["automountServiceAccountToken"] is False


def test_no_other_manifest_makes_pods() -> None:
    kinds = {
        document["kind"]
        for file in DEPLOY.rglob("*.yaml")
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if "kind" in document  # the values for Airflow's chart and the rules for Prometheus are none of Kubernetes'
    }
    assert kinds == {
        *("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "NetworkPolicy", "Secret"),
        *("PersistentVolumeClaim", "ServingRuntime", "InferenceService", "Deployment", "Service"),
        "TrainingRuntime",
    }


GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "main",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
#: What breaks a rule: of the pod, or of the security context of its container, or of the container.
BAD: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "host namespaces": ({"hostNetwork": True}, {}, {}),
    "volume types": ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, {}, {}),
    "sysctls": ({"securityContext": {**GOOD["securityContext"], "sysctls": [{"name": "kernel.msgmax"}]}}, {}, {}),
    "privileged": ({}, {"privileged": True}, {}),
    "privilege escalation": ({}, {"allowPrivilegeEscalation": None}, {}),
    "running as non-root": ({}, {"runAsNonRoot": False}, {}),
    "non-root user": ({}, {"runAsUser": 0}, {}),
    "seccomp": ({}, {"seccompProfile": {"type": "Unconfined"}}, {}),
    "capabilities": ({}, {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}, {}),
    "host ports": ({}, {}, {"ports": [{"hostPort": 80}]}),
    "host process": ({}, {"windowsOptions": {"hostProcess": True}}, {}),
    "proc mount": ({}, {"procMount": "Unmasked"}, {}),
    "SELinux": ({}, {"seLinuxOptions": {"user": "root"}}, {}),
    "AppArmor": ({}, {"appArmorProfile": {"type": "Unconfined"}}, {}),
    "host of probes": ({}, {}, {"livenessProbe": {"httpGet": {"host": "metadata"}}}),
}


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_the_judge_finds_each_rule_that_is_broken(kind: str) -> None:
    assert violations(GOOD) == []
    assert BAD.keys() == POD_RULES.keys() | CONTAINER_RULES.keys()
    for rule, (of_pod, of_context, of_container) in BAD.items():
        (container,) = deepcopy(GOOD["containers"])
        container["securityContext"] |= of_context
        pod = {**GOOD, **of_pod, kind: [container | of_container]}
        assert violations(pod) == [rule if rule in POD_RULES else f"main: {rule}"]
