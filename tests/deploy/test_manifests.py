"""The manifests are what Kubernetes knows, give no more than is needed, and agree with the code that relies on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import manifest_problems

ROOT = Path(__file__).parents[2]
#: Without the values for Airflow's chart: Helm makes the manifests of those.
FILES = sorted(set((ROOT / "deploy").glob("*.yaml")) - {ROOT / "deploy" / "helm-values.yaml"})
OF_KSERVE = sorted((ROOT / "deploy" / "kserve").glob("*.yaml"))


def documents(files: Sequence[Path] = FILES) -> list[tuple[str, dict[str, Any]]]:
    return [
        (file.name, document) for file in files for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]


def test_kubernetes_knows_every_kind_and_field() -> None:
    found = documents([*FILES, *OF_KSERVE])
    wrong = {(file, problem) for file, document in found for problem in manifest_problems(document)}
    assert wrong == set()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("kind: Rolle", "has no rbac.authorization.k8s.io/v1 Rolle"),
        ("apiVersion: rbac.authorization.k8s.io/v1beta1", "has no rbac.authorization.k8s.io/v1beta1 Role"),
        ("metadata: {name: a}", "metadata.namespace is missing"),
        ("metadata: {namespace: a}", "metadata.name is missing"),
        ("metadata: {name: a, namespace: a, label: {}}", "Role.metadata has no field label"),
        ("rules: [{apiGroups: [''], resource: [pods], verbs: [get]}]", "Role.rules.0 has no field resource"),
        ("spec: {}", "Role has no field spec"),
    ],
)
def test_what_kubernetes_does_not_know_is_found(change: str, problem: str) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": []}
    role |= {"metadata": {"name": "a", "namespace": "a"}}
    assert list(manifest_problems(role)) == []
    (found,) = manifest_problems(role | yaml.safe_load(change))
    assert problem in found


def test_what_kserve_does_not_know_is_found() -> None:
    service = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"}
    service |= {"metadata": {"name": "a", "namespace": "a"}, "spec": {"predictor": {"model": {"runtim": "x"}}}}
    assert list(manifest_problems(service)) == ["InferenceService: spec has fields that KServe does not know"]


def test_claim_secret_and_runtime_are_those_that_the_pipeline_names_by_default() -> None:
    pipeline = next(
        yaml.safe_load_all((ROOT / "include" / "pipelines" / "release_in_kubeflow.yaml").read_text(encoding="utf-8"))
    )
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    named = {document["kind"]: document for _, document in documents()}
    assert parameters["volume"]["defaultValue"] == named["PersistentVolumeClaim"]["metadata"]["name"]
    assert parameters["credentials"]["defaultValue"] == named["Secret"]["metadata"]["name"]
    assert parameters["runtime"]["defaultValue"] == named["ServingRuntime"]["metadata"]["name"]
    assert parameters["image"]["defaultValue"] == named["ServingRuntime"]["spec"]["containers"][0]["image"]


def test_the_serving_container_is_as_locked_down_as_the_image_is_tested() -> None:
    probes = {}
    for runtime in (document for _, document in documents() if document["kind"] == "ServingRuntime"):
        (container,) = runtime["spec"]["containers"]
        security = container["securityContext"]
        assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        probes[runtime["metadata"]["name"]] = container["readinessProbe"]
    assert probes["kubeflow-model-release"]["exec"]["command"][-1] == "--check"
    assert probes["kubeflow-model-release-native"]["httpGet"]["path"] == "/v2/health/ready"
