"""The rules of an API server that clients must get right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes import client, config, watch  # noqa: TID253
from kubernetes.client import ApiException  # noqa: TID253
from urllib3.exceptions import HTTPError

from tests.doubles.kubernetes import Cluster, cluster


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": name}}, "data": data}


def message(error: ApiException) -> str:
    return str(json.loads(error.body)["message"])


def apply(core: Any, body: dict[str, Any], manager: str, *, force: bool = False) -> Any:
    options = {"field_manager": manager, "force": force, "_content_type": "application/apply-patch+yaml"}
    return core.patch_namespaced_config_map(body["metadata"]["name"], "models", body, **options)


def test_a_kubeconfig_and_a_token_let_a_client_in(tmp_path: Any) -> None:
    with cluster(token="secret") as k8s:
        config.load_kube_config(
            str(k8s.kubeconfig(tmp_path / "config")), client_configuration=(own := client.Configuration())
        )
        core = client.CoreV1Api(client.ApiClient(own))
        assert "models" in [item.metadata.name for item in core.list_namespace().items]
        wrong = client.Configuration(host=k8s.url, api_key={"authorization": "Bearer wrong"})
        with pytest.raises(ApiException) as refused:
            client.CoreV1Api(client.ApiClient(wrong)).list_namespace()

    assert refused.value.status == 401
    assert refused.value.reason == "Unauthorized"


def test_the_version_and_the_resources_can_be_discovered(k8s: Cluster) -> None:
    api = k8s.api_client()

    assert client.VersionApi(api).get_code().git_version.startswith("v1.")
    assert "pods" in [item.name for item in client.CoreV1Api(api).get_api_resources().resources]
    assert "apps" in [group.name for group in client.ApisApi(api).get_api_versions().groups]


def test_names_are_unique_and_may_be_generated(core: Any) -> None:
    core.create_namespaced_config_map("models", config_map())
    with pytest.raises(ApiException) as taken:
        core.create_namespaced_config_map("models", config_map())
    generated = core.create_namespaced_config_map("models", {"metadata": {"generateName": "settings-"}})

    assert (taken.value.status, message(taken.value)) == (409, 'configmaps "settings" already exists')
    assert generated.metadata.name.startswith("settings-")


def test_an_unknown_namespace_or_object_is_a_404(core: Any) -> None:
    with pytest.raises(ApiException) as no_namespace:
        core.create_namespaced_config_map("absent", config_map())
    with pytest.raises(ApiException) as no_object:
        core.read_namespaced_config_map("absent", "models")

    assert message(no_namespace.value) == 'namespaces "absent" not found'
    assert message(no_object.value) == 'configmaps "absent" not found'
    assert json.loads(no_object.value.body)["reason"] == "NotFound"


def test_a_stale_update_is_a_conflict(core: Any) -> None:
    first = core.create_namespaced_config_map("models", config_map(key="1"))
    core.patch_namespaced_config_map("settings", "models", {"data": {"key": "2"}})
    first.data = {"key": "3"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("settings", "models", first)

    assert stale.value.status == 409
    assert "the object has been modified" in message(stale.value)
    assert core.read_namespaced_config_map("settings", "models").data == {"key": "2"}


def test_a_write_that_changes_nothing_keeps_the_resource_version(core: Any) -> None:
    first = core.create_namespaced_config_map("models", config_map(key="1"))
    again = core.patch_namespaced_config_map("settings", "models", {"data": {"key": "1"}})

    assert again.metadata.resource_version == first.metadata.resource_version


def test_a_null_in_a_patch_removes_a_field(core: Any) -> None:
    core.create_namespaced_config_map("models", config_map(kept="1", removed="2"))
    patched = core.patch_namespaced_config_map("settings", "models", {"data": {"removed": None}})

    assert patched.data == {"kept": "1"}


def test_a_json_patch_is_refused_when_its_test_does_not_hold(core: Any) -> None:
    core.create_namespaced_config_map("models", config_map(key="1"))
    operations = [
        {"op": "test", "path": "/data/key", "value": "1"},
        {"op": "replace", "path": "/data/key", "value": "2"},
    ]
    assert core.patch_namespaced_config_map("settings", "models", operations).data == {"key": "2"}
    with pytest.raises(ApiException) as refused:
        core.patch_namespaced_config_map("settings", "models", operations)

    assert refused.value.status == 422


def test_applying_removes_what_the_manager_leaves_out(core: Any) -> None:
    apply(core, config_map(kept="1", removed="2"), "airflow")
    core.patch_namespaced_config_map("settings", "models", {"data": {"of_another": "3"}})
    apply(core, config_map(kept="1"), "airflow")

    assert core.read_namespaced_config_map("settings", "models").data == {"kept": "1", "of_another": "3"}


def test_applying_over_another_manager_is_a_conflict_unless_forced(core: Any) -> None:
    apply(core, config_map(key="1"), "airflow")
    with pytest.raises(ApiException) as refused:
        apply(core, config_map(key="2"), "somebody")
    forced = apply(core, config_map(key="2"), "somebody", force=True)

    assert refused.value.status == 409
    assert 'conflict with "airflow" using v1: .data.key' in message(refused.value)
    assert json.loads(refused.value.body)["details"]["causes"][0]["field"] == ".data.key"
    assert forced.data == {"key": "2"}
    assert [item.manager for item in forced.metadata.managed_fields] == ["airflow", "somebody"]


def test_a_list_comes_in_pages(core: Any) -> None:
    for number in range(5):
        core.create_namespaced_config_map("models", config_map(f"settings-{number}"))
    first = core.list_namespaced_config_map("models", limit=3)
    rest = core.list_namespaced_config_map("models", limit=3, _continue=first.metadata._continue)

    assert [item.metadata.name for item in first.items + rest.items] == [f"settings-{number}" for number in range(5)]
    assert rest.metadata._continue is None


def test_selectors_choose_and_unknown_fields_are_refused(core: Any) -> None:
    for name in ("one", "two"):
        core.create_namespaced_config_map("models", config_map(name))

    def names(**selectors: str) -> list[str]:
        return [item.metadata.name for item in core.list_namespaced_config_map("models", **selectors).items]

    assert names(label_selector="app=one") == ["one"]
    assert names(label_selector="app in (two,three)") == ["two"]
    assert names(label_selector="app!=one") == ["two"]
    assert names(label_selector="absent") == []
    assert names(field_selector="metadata.name=two") == ["two"]
    with pytest.raises(ApiException) as refused:
        names(field_selector="data.key=1")
    assert (refused.value.status, message(refused.value)) == (400, "field label not supported: data.key")


def test_a_watch_from_a_forgotten_version_is_told_410(k8s: Cluster, core: Any) -> None:
    version = core.list_namespaced_config_map("models").metadata.resource_version
    core.create_namespaced_config_map("models", config_map())
    k8s.compact()

    with pytest.raises(ApiException) as expired:
        list(
            watch.Watch().stream(core.list_namespaced_config_map, "models", resource_version=version, timeout_seconds=5)
        )

    assert expired.value.status == 410


def test_a_watch_that_is_cut_goes_on_where_it_was(k8s: Cluster, core: Any) -> None:
    core.create_namespaced_config_map("models", config_map("first"))
    seen = []
    stream = watch.Watch()
    for event in stream.stream(core.list_namespaced_config_map, "models"):
        seen.append(event["object"].metadata.name)
        if seen == ["first"]:
            k8s.drop_watches()
            core.create_namespaced_config_map("models", config_map("second"))
        else:
            stream.stop()

    assert seen == ["first", "second"]


def test_a_watch_sends_bookmarks(k8s: Cluster, core: Any) -> None:
    stream = watch.Watch()
    for event in stream.stream(core.list_namespaced_config_map, "models", allow_watch_bookmarks=True):
        assert event["type"] == "BOOKMARK"
        stream.stop()

    assert int(stream.resource_version) > 0


def test_a_token_is_made_for_a_service_account(k8s: Cluster, core: Any) -> None:
    request = {"spec": {"audiences": ["pipelines.kubeflow.org"], "expirationSeconds": 600}}
    answer = core.create_namespaced_service_account_token("default", "models", request)
    with pytest.raises(ApiException) as refused:
        core.create_namespaced_service_account_token("absent", "models", request)

    assert answer.status.token in k8s.server.tokens
    assert answer.status.expiration_timestamp
    assert message(refused.value) == 'serviceaccounts "absent" not found'


def test_what_an_object_owns_goes_with_it(core: Any) -> None:
    owner = core.create_namespaced_config_map("models", config_map("owner")).metadata
    owned = config_map("owned")
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid}
    ]
    core.create_namespaced_config_map("models", owned)
    core.delete_namespaced_config_map("owner", "models")

    assert core.list_namespaced_config_map("models").items == []


def test_a_finalizer_holds_an_object_until_it_is_taken_off(core: Any) -> None:
    held = config_map()
    held["metadata"]["finalizers"] = ["tests/hold"]
    core.create_namespaced_config_map("models", held)
    core.delete_namespaced_config_map("settings", "models")
    going = core.read_namespaced_config_map("settings", "models")
    core.patch_namespaced_config_map("settings", "models", {"metadata": {"finalizers": None}})

    assert going.metadata.deletion_timestamp
    assert core.list_namespaced_config_map("models").items == []


def test_a_pod_needs_a_container_an_account_and_known_volumes(core: Any, python_pod: Any) -> None:
    refused = []
    for pod in (
        {"metadata": {"name": "a-pod"}, "spec": {"containers": []}},
        python_pod("pass", serviceAccountName="absent"),
        python_pod("pass", container={"volumeMounts": [{"name": "absent", "mountPath": "/x"}]}),
    ):
        with pytest.raises(ApiException) as error:
            core.create_namespaced_pod("models", pod)
        refused.append((error.value.status, message(error.value)))

    assert refused[0] == (422, 'Pod "a-pod" is invalid: spec.containers: Required value')
    assert refused[1][0] == 403
    assert 'serviceaccount "absent" not found' in refused[1][1]
    assert refused[2] == (422, 'Pod "a-pod" is invalid: spec.containers[0].volumeMounts[0].name: Not found: "absent"')


def test_troubles_come_when_a_test_asks_for_them(k8s: Cluster, core: Any, python_pod: Any) -> None:
    k8s.faults.http("GET", "/configmaps", status=503, times=4)
    with pytest.raises(ApiException) as unavailable:
        core.list_namespaced_config_map("models", _request_timeout=5)
    k8s.faults.heal()
    k8s.faults.forbid("create", "pods")
    with pytest.raises(ApiException) as forbidden:
        core.create_namespaced_pod("models", python_pod("pass"))
    k8s.faults.heal()
    k8s.faults.over_quota()
    with pytest.raises(ApiException) as over_quota:
        core.create_namespaced_pod("models", python_pod("pass"))

    assert unavailable.value.status == 503
    assert 'cannot create resource "pods" in API group "" in the namespace "models"' in message(forbidden.value)
    assert 'pods "a-pod" is forbidden: exceeded quota' in message(over_quota.value)


@pytest.mark.parametrize(("status", "was_created"), [(0, False), (-1, True)])
def test_a_connection_breaks_before_or_after_the_server_has_done_it(
    k8s: Cluster, core: Any, status: int, was_created: bool
) -> None:
    k8s.faults.http("POST", "/configmaps", status=status)
    with pytest.raises(HTTPError):
        core.create_namespaced_config_map("models", config_map())

    assert bool(core.list_namespaced_config_map("models").items) == was_created


async def test_the_asynchronous_client_reads_and_watches(k8s: Cluster, core: Any) -> None:
    from kubernetes_asyncio import client as async_client
    from kubernetes_asyncio import watch as async_watch

    core.create_namespaced_config_map("models", config_map())
    async with async_client.ApiClient(async_client.Configuration(host=k8s.url)) as api:
        own = async_client.CoreV1Api(api)
        found = (await own.list_namespaced_config_map("models")).items
        async with async_watch.Watch().stream(own.list_namespaced_config_map, "models") as events:
            async for event in events:
                name = event["object"].metadata.name
                break

    assert [item.metadata.name for item in found] == ["settings"] == [name]
