"""The manifests are what Kubernetes knows, give no more than is needed, and agree with the code that relies on them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
#: Without the values for Airflow's chart: Helm makes the manifests of those.
FILES = sorted(set((ROOT / "deploy").glob("*.yaml")) - {ROOT / "deploy" / "helm-values.yaml"})

#: What each kind must have besides metadata.
KINDS = {
    ("v1", "ServiceAccount"): set(),
    ("v1", "PersistentVolumeClaim"): {"spec"},
    ("v1", "Secret"): {"type", "stringData"},
    ("rbac.authorization.k8s.io/v1", "Role"): {"rules"},
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): {"roleRef", "subjects"},
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): {"spec"},
}

#: Group and resource -> verbs that Kubernetes, or Kubeflow Pipelines' own access reviews, know.
_CRUD = {"create", "delete", "get", "list", "patch", "update", "watch"}
VERBS = {
    ("pipelines.kubeflow.org", "experiments"): {"create", "get", "list"},
    ("pipelines.kubeflow.org", "pipelines"): {"create", "get", "list"},
    ("pipelines.kubeflow.org", "pipelines/versions"): {"create", "get", "list"},
    ("pipelines.kubeflow.org", "runs"): {"create", "get", "list", "retry", "terminate"},
    ("", "pods"): _CRUD,
    ("", "pods/log"): {"get"},
    ("", "events"): {"get", "list", "watch"},
    ("", "serviceaccounts/token"): {"create"},
    ("serving.kserve.io", "inferenceservices"): _CRUD,
}


def documents() -> list[tuple[str, dict[str, Any]]]:
    return [
        (file.name, document) for file in FILES for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(("file", "document"), documents(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_document_is_of_a_known_kind_and_complete(file: str, document: dict[str, Any]) -> None:
    required = KINDS.get((document["apiVersion"], document["kind"]))
    if required is None:
        pytest.skip(f"{document['kind']} is checked elsewhere")
    assert document["metadata"].keys() >= {"name", "namespace"}
    assert document.keys() >= required


def test_roles_give_only_what_is_used() -> None:
    roles = [document for file, document in documents() if file == "pipelines-rbac.yaml" and document["kind"] == "Role"]
    given = {
        (group, resource): set(rule["verbs"])
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert "*" not in str(roles)
    assert given.keys() <= VERBS.keys()
    assert {place: verbs - VERBS[place] for place, verbs in given.items() if verbs - VERBS[place]} == {}
    (token,) = (rule for role in roles for rule in role["rules"] if "serviceaccounts/token" in rule["resources"])
    assert token["resourceNames"] == ["airflow-releases"], "a token of any account would be a way to every right"


def test_bindings_lead_to_what_is_there() -> None:
    found = [document for file, document in documents() if file == "pipelines-rbac.yaml"]
    names = {(document["kind"], document["metadata"]["name"]) for document in found}
    for binding in (document for document in found if document["kind"] == "RoleBinding"):
        assert ("Role", binding["roleRef"]["name"]) in names
    bound = {document["roleRef"]["name"] for document in found if document["kind"] == "RoleBinding"}
    assert bound == {name for kind, name in names if kind == "Role"}


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
    (runtime,) = (document for _, document in documents() if document["kind"] == "ServingRuntime")
    (container,) = runtime["spec"]["containers"]
    security = container["securityContext"]
    assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert container["readinessProbe"]["exec"]["command"][-1] == "--check"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
@pytest.mark.processes
def test_kubectl_accepts_it(file: Path) -> None:
    answer = subprocess.run(
        ["kubectl", "apply", "--dry-run=client", "--validate=false", "-f", str(file)], capture_output=True, text=True
    )
    unreachable = "connection refused" in answer.stderr or "no matches for kind" in answer.stderr
    assert answer.returncode == 0 or unreachable, answer.stderr
