"""Each role gives what a call of ours needs, all of it and nothing else.

That the rights are enough is shown by every test on the Kubernetes double, which gives them and no others; what the pod
of a module needs is compared where one runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from kubeflow_provider.hooks._kserve.access_check import RELEASES, SERVICE_PROXY, TASKS
from kubeflow_provider.hooks._kubeflow_pipelines import api
from tests.rights import (
    DEPLOY,
    MODULES,
    RELEASE_IN_KUBEFLOW,
    SERVING,
    STEP_LOGS,
    Right,
    blocks_of_page,
    documents,
    given_by,
    rights,
)

ROOT = DEPLOY.parent
PROVIDER = ROOT / "plugins" / "kubeflow_provider"
ROLE_FILES = sorted(str(file.relative_to(DEPLOY)) for file in DEPLOY.rglob("*rbac.yaml"))

KSERVE, PIPELINES = "serving.kserve.io", "pipelines.kubeflow.org"
#: How Kubernetes' client calls a resource -> its group and name.
RESOURCES = {
    "pod": ("", "pods"),
    "pod_log": ("", "pods/log"),
    "event": ("", "events"),
    "config_map": ("", "configmaps"),
    "service_account_token": ("", "serviceaccounts/token"),
    "deployment": ("apps", "deployments"),
    "controller_revision": ("apps", "controllerrevisions"),
    "custom_object": (KSERVE, "inferenceservices"),
}
VERBS = {"read": "get", "replace": "update"}
#: Calls of api.py that do not say by their name what they are for.
OTHERS = {
    (KSERVE, "servingruntimes", "list"),
    (KSERVE, "clusterservingruntimes", "list"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "get"),
    ("", "services/proxy", "create"),
}

#: Calls of Kubeflow Pipelines -> what its server asks Kubernetes, in the name of whoever calls.
ASKED = {
    "get_health": None,
    "list_experiments": ("experiments", "list"),
    "create_experiment": ("experiments", "create"),
    "get_pipeline_by_name": ("pipelines", "get"),
    "get_pipeline": ("pipelines", "get"),
    "list_pipelines": ("pipelines", "list"),
    "create_pipeline": ("pipelines", "create"),
    "list_versions": ("pipelines/versions", "list"),
    "get_version": ("pipelines/versions", "get"),
    "upload_version": ("pipelines/versions", "create"),
    "create_run": ("runs", "create"),
    "get_run": ("runs", "get"),
    "list_runs": ("runs", "list"),
    "terminate_run": ("runs", "terminate"),
    "retry_run": ("runs", "retry"),
    "archive_run": ("runs", "archive"),
    "delete_run": ("runs", "delete"),
    "create_recurring_run": ("jobs", "create"),
    "get_recurring_run": ("jobs", "get"),
    "list_recurring_runs": ("jobs", "list"),
    "enable_recurring_run": ("jobs", "enable"),
    "disable_recurring_run": ("jobs", "disable"),
    "delete_recurring_run": ("jobs", "delete"),
    "get_pod_log": None,
    "get_node_log": None,
}
#: And what it asks for a run that names them.
ASKED_FOR_A_RUN = {("experiments", "get"), ("pipelines", "list")}


def called(*files: Path) -> set[tuple[str, str, str]]:
    """Return what the calls of Kubernetes' client in these modules need."""
    calls = [
        match
        for file in files
        for match in re.findall(
            r"\.(list|read|get|create|patch|delete|replace)_namespaced_(\w+)", file.read_text(encoding="utf-8")
        )
    ]
    return {(*RESOURCES[name], VERBS.get(verb, verb)) for verb, name in calls}


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        (rights(*SERVING), called(PROVIDER / "hooks/_kserve/api.py") | OTHERS),
        (
            {right for right in rights(STEP_LOGS) if right[0] != PIPELINES},
            called(PROVIDER / "hooks/_kubeflow_pipelines/pods.py"),
        ),
        (rights("token-rbac.yaml"), called(PROVIDER / "http/authentication/service_account.py")),
        (rights(RELEASE_IN_KUBEFLOW), called(ROOT / "include/release_in_kubeflow/inference_service.py")),
    ],
    ids=["serving", "step logs", "token", "release in Kubeflow"],
)
def test_a_role_gives_what_is_called_and_nothing_else(
    given: set[tuple[str, str, str]], needed: set[tuple[str, str, str]]
) -> None:
    assert given == needed


@pytest.mark.parametrize(
    ("page", "files"), [("inference-services", SERVING), ("modules", (MODULES,))], ids=["serving", "modules"]
)
def test_the_providers_page_gives_what_our_own_roles_give(page: str, files: tuple[str, ...]) -> None:
    assert given_by(document for block in blocks_of_page(page) for document in block) == rights(*files)


def test_the_test_button_asks_for_what_the_page_gives() -> None:
    needed, proxy, _, releases = map(given_by, blocks_of_page("inference-services"))

    assert _flat(TASKS) == needed
    assert _flat(SERVICE_PROXY) == proxy
    assert _flat(RELEASES) == releases - {(KSERVE, "clusterservingruntimes", "list")}


def _flat(asked: Mapping[tuple[str, str], Sequence[str]]) -> set[Right]:
    return {(*what, verb) for what, verbs in asked.items() for verb in verbs}


def test_a_message_that_names_a_page_of_the_provider_names_what_is_there() -> None:
    places = {
        place
        for file in PROVIDER.rglob("*.py")
        for place in re.findall(r"docs/[\w/-]+\.md(?:#[\w-]+)?", file.read_text(encoding="utf-8"))
        if "airflow-provider-kubeflow" not in place
    }
    assert len(places) >= 3
    for place in places:
        page, _, heading = place.partition("#")
        text = (PROVIDER / page).read_text(encoding="utf-8")
        anchors = {name.lower().replace(" ", "-") for name in re.findall(r"^##+ (.*)$", text, re.M)}
        assert not heading or heading in anchors, place


def test_no_message_of_the_provider_sends_a_stranger_to_this_project() -> None:
    files = [file for file in PROVIDER.rglob("*.py") if not {"_moved", "docs"} & {*file.parts[len(PROVIDER.parts) :]}]
    texts = {str(file): file.read_text(encoding="utf-8") for file in files}

    assert [file for file, text in texts.items() if re.search(r"deploy/[\w./-]+\.yaml|`make |model's YAML", text)] == []


def test_kubeflows_own_role_gives_what_its_server_asks_for_our_calls() -> None:
    calls = {
        name
        for name, value in vars(api).items()
        if getattr(value, "__annotations__", {}).get("return") == "Call" and callable(value)
    }
    assert calls == ASKED.keys()
    needed = {asked for asked in ASKED.values() if asked} | ASKED_FOR_A_RUN
    given = rights(STEP_LOGS, "finished-runs-rbac.yaml", "recurring-runs-rbac.yaml")
    assert {right for right in given if right[0] == PIPELINES} == {
        (PIPELINES, resource, verb) for resource, verb in needed
    }


def test_each_door_and_feature_has_a_file_and_none_gives_everything() -> None:
    assert ROLE_FILES == [
        "finished-runs-rbac.yaml",
        "kserve/modes-rbac.yaml",
        "kserve/rbac.yaml",
        "kserve/service-proxy-rbac.yaml",
        "modules-rbac.yaml",
        "pipelines-rbac.yaml",
        "recurring-runs-rbac.yaml",
        "release-in-kubeflow-rbac.yaml",
        "search-in-katib-rbac.yaml",
        "token-rbac.yaml",
        "training-over-nodes-rbac.yaml",
    ]
    found = rights(*ROLE_FILES)
    assert not [right for right in found if "*" in right]
    assert {file for file in ROLE_FILES if ("", "pods", "create") in rights(file)} == {"modules-rbac.yaml"}
    assert not {resource for _, resource, _ in found} & {"secrets", "rolebindings", "roles", "pods/exec", "pods/attach"}
    (token,) = (rule for role in documents("token-rbac.yaml") for rule in role.get("rules", ()))
    assert token["resourceNames"] == ["airflow-releases"], "a token of any account would be a way to every right"


def test_bindings_lead_to_what_is_there() -> None:
    for file in ROLE_FILES:
        found = documents(file)
        roles = {(each["kind"], each["metadata"]["name"]) for each in found if each["kind"].endswith("Role")}
        bindings = [each for each in found if each["kind"].endswith("Binding")]
        assert {(each["roleRef"]["kind"], each["roleRef"]["name"]) for each in bindings} == roles, file
        subjects = {subject["name"] for each in bindings for subject in each["subjects"]}
        assert subjects in ({"airflow-releases"}, {"default-editor", "pipeline-runner"}), file


def test_each_role_says_why_and_the_docs_say_when() -> None:
    docs = "".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("kubeflow", "kserve"))
    for file in ROLE_FILES:
        assert f"deploy/{file}" in docs, file
    for file, text in _roles():
        assert text.lstrip().startswith("#") or text.startswith("apiVersion: v1"), f"{file}: {text[:60]}"


def _roles() -> Iterator[tuple[str, str]]:
    for file in ROLE_FILES:
        for text in (DEPLOY / file).read_text(encoding="utf-8").split("\n---\n"):
            if yaml.safe_load(text)["kind"] == "Role":
                yield file, text


def test_the_roles_that_reach_beyond_the_namespace_only_read_what_is_no_secret() -> None:
    roles = [each for each in documents(*ROLE_FILES) if each["kind"].endswith("Role")]
    beyond = [role for role in roles if role["kind"] == "ClusterRole" or role["metadata"]["namespace"] != "team"]
    rules = [rule for role in beyond for rule in role["rules"]]
    assert {(rule["resources"][0], *rule.get("resourceNames", ()), *rule["verbs"]) for rule in rules} == {
        ("configmaps", "inferenceservice-config", "get"),
        ("customresourcedefinitions", "inferenceservices.serving.kserve.io", "get"),
        ("clusterservingruntimes", "list"),
    }
