from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    OutageError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from model_releases.registry import get_registry_service
from model_releases.registry.model_registry import ModelRegistryHook
from model_releases.registry.one_at_a_time import one_at_a_time
from model_releases.registry.service import Release
from tests.doubles.model_registry import ModelRegistry, model_registry

API = "/api/model_registry/v1"
MODEL = "sample-reviews"
FIRST, SECOND = "20260101000000", "20260102000000"


@pytest.fixture
def server() -> Iterator[ModelRegistry]:
    with model_registry() as server:
        yield server


@pytest.fixture
def people(server: ModelRegistry) -> Iterator[httpx.Client]:
    """Return a client of those who write to the registry besides us."""
    with httpx.Client(base_url=f"{server.url}{API}") as client:
        yield client


@pytest.fixture
def registry(server: ModelRegistry) -> ModelRegistryHook:
    return hook(server.url)


def connection(url: str, *, password: str | None = None, **extra: str) -> Connection:
    return Connection(
        conn_id="registry",
        conn_type="kubeflow_model_registry",
        host=url,
        password=password,
        extra=json.dumps(extra),
    )


def hook(url: str, **fields: Any) -> ModelRegistryHook:
    return ModelRegistryHook("registry", connection=connection(url, **fields))


def release(version: str = FIRST, *, model: str = MODEL, **facts: str) -> Release:
    return Release(
        model=model,
        version=version,
        state=ReleaseState.CANDIDATE,
        archive_uri=f"s3://models/{model}/{version}/package",
        facts=facts,
    )


def id_of(people: httpx.Client, version: str = FIRST) -> str:
    items = people.get("/model_versions").json()["items"]
    return str(next(item["id"] for item in items if item["name"] == version))


def state(registry: ModelRegistryHook, version: str) -> ReleaseState | None:
    found = registry.get_release(MODEL, version)
    return found.state if found else None


# Connections


def test_the_type_of_a_connection_chooses_it(monkeypatch: pytest.MonkeyPatch, server: ModelRegistry) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REGISTRY", connection(server.url).get_uri())

    assert isinstance(get_registry_service("registry"), ModelRegistryHook)


@pytest.mark.parametrize("path", ["", "/", "/api/model_registry", "/api/model_registry/v1/"])
def test_an_address_with_the_path_of_the_api_is_as_good(server: ModelRegistry, path: str) -> None:
    assert hook(f"{server.url}{path}").test_connection() == (
        True,
        f"Kubeflow Model Registry answers at {server.url} (API v1).",
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ui_url": "javascript:alert(1)"}, "ui_url: the address of the registry's pages"),
        ({"ui_url": "https://user:pw@kubeflow.example.com"}, "ui_url"),
        ({"authentication": "magic"}, "authentication: must be one of"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        hook("http://registry.example.com", **fields)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("", ""),
        ("http://user:secret@mlflow.example.com:5000/", "http://mlflow.example.com:5000"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
    ],
)
def test_trainings_are_told_where_their_metrics_go(uri: str, shown: str) -> None:
    assert hook("http://registry.example.com", tracking_uri=uri).tracking_uri == shown


def test_it_logs_in_as_kubeflow_pipelines_does() -> None:
    with model_registry(token="a good token") as server:
        hook(server.url, password="a good token").register(release(), metrics={})
        is_well, words = hook(server.url, password="a bad token").test_connection()
        with pytest.raises(PermissionDeniedError):
            hook(server.url).get_live(MODEL)

    assert not is_well
    assert "401" in words
    assert "a bad token" not in words


def test_what_is_no_registry_is_named_as_such(server: ModelRegistry) -> None:
    server.switch()

    is_well, words = hook(server.url).test_connection()

    assert not is_well
    assert "there is no /api/model_registry of version v1 or v1alpha3" in words


# Versions of the API


def test_the_version_is_asked_for_once_by_a_process(server: ModelRegistry) -> None:
    for _ in range(3):
        hook(server.url).get_live(MODEL)

    assert server.calls("GET", "/registered_models") == 1


def test_a_server_that_is_upgraded_goes_on_and_so_does_one_that_is_put_back() -> None:
    with model_registry(versions=("v1alpha3",)) as server:
        registry = hook(server.url)
        registry.register(release(), metrics={})
        server.switch("v1", gone=("v1alpha3",))
        registry.set_state(MODEL, FIRST, ReleaseState.LIVE)
        server.switch("v1alpha3")
        live = registry.get_live(MODEL)

    assert live is not None
    assert live.version == FIRST


# What is kept


def test_people_find_it_on_the_registrys_own_page(
    server: ModelRegistry, people: httpx.Client, registry: ModelRegistryHook
) -> None:
    facts = {"dataset_sha256": "ab" * 32, "code_revision": "c0ffee", "pipeline_run_id": "run-1"}
    registry.register(release(**facts), metrics={"candidate.macro_f1": 0.93})

    shown = server.properties("model_versions", FIRST)
    assert {name: shown[f"fact.{name}"] for name in facts} == facts
    assert shown["fact.metric.candidate.macro_f1"] == "0.93"
    assert shown["release.state"] == "candidate"
    assert "" not in shown.values(), "the page takes it for a label"
    (artifact,) = people.get(f"/model_versions/{id_of(people)}/artifacts").json()["items"]
    assert artifact["uri"] == f"s3://models/{MODEL}/{FIRST}/package"
    assert (artifact["modelFormatName"], artifact["modelSourceId"]) == ("pytorch", "run-1")


def test_a_version_has_one_artifact_however_often_it_is_registered(
    people: httpx.Client, registry: ModelRegistryHook
) -> None:
    for _ in range(3):
        registry.register(release(), metrics={})

    assert people.get(f"/model_versions/{id_of(people)}/artifacts").json()["size"] == 1
    assert people.get("/model_versions").json()["size"] == 1


def test_a_registration_that_broke_off_gets_its_artifact_with_the_next_try(
    server: ModelRegistry, people: httpx.Client, registry: ModelRegistryHook
) -> None:
    server.fault("reset", method="POST", path="/artifacts")
    with pytest.raises(ServiceUnavailableError):
        registry.register(release(), metrics={})
    registry.register(release(), metrics={})

    assert people.get(f"/model_versions/{id_of(people)}/artifacts").json()["size"] == 1


@pytest.mark.parametrize("path", ["/registered_models", "/model_versions", "/artifacts"])
def test_what_was_made_though_nobody_heard_of_it_is_not_made_twice(
    server: ModelRegistry, people: httpx.Client, registry: ModelRegistryHook, path: str
) -> None:
    server.fault("reset", method="POST", path=path, handled="after")
    with pytest.raises(ServiceUnavailableError):
        registry.register(release(), metrics={})
    registry.register(release(), metrics={})

    assert people.get("/registered_models").json()["size"] == 1
    assert people.get("/model_versions").json()["size"] == 1
    assert people.get("/artifacts").json()["size"] == 1


def test_the_address_of_the_package_is_never_one_of_the_registry(registry: ModelRegistryHook) -> None:
    wrong = Release(model=MODEL, version=FIRST, state=ReleaseState.CANDIDATE, archive_uri="model-registry://x/1")

    with pytest.raises(InvalidRequestError, match="give the storage's own"):
        registry.register(wrong, metrics={})


def test_links_lead_to_its_page_where_the_connection_says_how(server: ModelRegistry) -> None:
    base = "https://kubeflow.example.com/model-registry/model-registry-service"
    hook(server.url).register(release(), metrics={})

    assert hook(server.url).release_url(MODEL, FIRST) is None
    assert hook(server.url, ui_url=f"{base}/").release_url(MODEL, FIRST) == f"{base}/registered-models/1/versions/2"
    template = "https://ui.example.com/{model_id}?v={version_id}"
    assert hook(server.url, ui_url=template).release_url(MODEL, FIRST) == "https://ui.example.com/1?v=2"


# What others have there


def test_marks_of_others_stay(server: ModelRegistry, people: httpx.Client, registry: ModelRegistryHook) -> None:
    registry.register(release(), metrics={})
    theirs = {
        "team": {"metadataType": "MetadataStringValue", "string_value": ""},
        "state": {"metadataType": "MetadataStringValue", "string_value": "theirs"},
        "tries": {"metadataType": "MetadataIntValue", "int_value": "42"},
    }
    for path in (f"/model_versions/{id_of(people)}", "/registered_models/1"):
        there = people.get(path).json()["customProperties"]
        people.patch(path, json={"customProperties": there | theirs, "state": "LIVE"})

    registry.set_state(MODEL, FIRST, ReleaseState.LIVE)
    registry.add_facts(MODEL, FIRST, {"endpoint": "http://x"})
    registry.set_state(MODEL, FIRST, ReleaseState.FAILED)

    wanted = {"team": "", "state": "theirs", "tries": "42"}
    for kind, name in (("model_versions", FIRST), ("registered_models", MODEL)):
        assert wanted.items() <= server.properties(kind, name).items()
    assert state(registry, FIRST) is ReleaseState.FAILED


def test_what_people_have_archived_stays_archived(people: httpx.Client, registry: ModelRegistryHook) -> None:
    registry.register(release(), metrics={})
    paths = ("/registered_models/1", f"/model_versions/{id_of(people)}")
    for path in paths:
        people.patch(path, json={"state": "ARCHIVED"})

    registry.register(release(), metrics={})
    registry.set_state(MODEL, FIRST, ReleaseState.LIVE)
    registry.set_state(MODEL, FIRST, ReleaseState.ROLLED_BACK)

    assert [people.get(path).json()["state"] for path in paths] == ["ARCHIVED", "ARCHIVED"]
    assert state(registry, FIRST) is ReleaseState.ROLLED_BACK


def test_versions_that_others_made_do_not_count(people: httpx.Client, registry: ModelRegistryHook) -> None:
    registry.register(release(), metrics={})
    people.post("/model_versions", json={"name": "v7", "registeredModelId": "1"})
    people.post("/model_versions", json={"name": "8", "registeredModelId": "987654"})

    assert [entry.version for entry in registry.list_releases(MODEL)] == [FIRST]
    assert registry.get_release(MODEL, "v7") is None


# Names


def test_a_name_that_another_name_looks_like_is_not_found_by_mistake(
    people: httpx.Client, registry: ModelRegistryHook
) -> None:
    for name in ("my-sample-reviews-2", "sample-reviews", "sampleXreviews"):
        registry.register(release(model=name, of=name), metrics={})

    assert registry.get_release("sample_reviews", FIRST) is None, "several fit the wildcard"
    assert registry.get_release("sampl_-reviews", FIRST) is None, "one fits the wildcard"
    assert registry.get_release("SAMPLE-reviews", FIRST) is None
    registry.register(release(model="sample_reviews", of="itself"), metrics={})
    found = registry.get_release("sample_reviews", FIRST)
    assert found is not None
    assert found.facts == {"of": "itself"}


def test_a_name_that_the_database_takes_for_another_is_refused(registry: ModelRegistryHook) -> None:
    registry.register(release(), metrics={})

    with pytest.raises(InvalidRequestError, match="another spelling"):
        registry.register(release(model="Sample-Reviews"), metrics={})


@pytest.mark.parametrize("version", ["2026%", "' OR 'a' = 'a", ""])
def test_a_version_cannot_widen_a_search(registry: ModelRegistryHook, version: str) -> None:
    registry.register(release(), metrics={})

    with pytest.raises(InvalidRequestError, match="no version of a release"):
        registry.get_release(MODEL, version)


@pytest.mark.parametrize("model", ["it's", "a' OR name != '", "50%", "ä✨", "a/b?c=d&name=sample-reviews"])
def test_any_name_is_found_again_and_nothing_else(registry: ModelRegistryHook, model: str) -> None:
    registry.register(release(), metrics={})
    assert registry.get_release(model, FIRST) is None
    registry.register(release(model=model, of="it"), metrics={})

    found = registry.get_release(model, FIRST)
    assert found is not None
    assert (found.model, found.facts) == (model, {"of": "it"})


def test_more_releases_than_a_page_are_listed(
    server: ModelRegistry, registry: ModelRegistryHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.contracts.model_registry.things.PAGE_SIZE", 2)
    versions = [f"2026010{number}000000" for number in range(1, 6)]
    for version in versions:
        registry.register(release(version), metrics={})

    assert [entry.version for entry in registry.list_releases(MODEL, limit=4)] == versions[:0:-1]
    lists = [request for request in server.requests if request.method == "GET" and request.path.endswith("s")]
    assert lists
    assert all(request.query["pageSize"] for request in lists), "without it the server sends everything"


# Other writers


def test_a_mark_that_another_writer_wipes_is_written_again(
    server: ModelRegistry, people: httpx.Client, registry: ModelRegistryHook
) -> None:
    registry.register(release(), metrics={})
    path = f"/model_versions/{id_of(people)}"
    before = people.get(path).json()["customProperties"]
    theirs = {**before, "theirs": {"metadataType": "MetadataStringValue", "string_value": "1"}}

    row = server.store.rows["model_versions", 2]
    server.between(path, lambda: setattr(row, "properties", theirs))
    registry.add_facts(MODEL, FIRST, {"ours": "1"})

    shown = server.properties("model_versions", FIRST)
    assert (shown["theirs"], shown["fact.ours"]) == ("1", "1")


def test_a_mark_that_is_lost_three_times_is_told(
    server: ModelRegistry, people: httpx.Client, registry: ModelRegistryHook
) -> None:
    registry.register(release(), metrics={})
    row = server.store.rows["model_versions", 2]
    before = dict(row.properties)
    server.between("/model_versions/2", lambda: setattr(row, "properties", dict(before)), times=3)

    with pytest.raises(ServiceUnavailableError, match=r"fact\.ours was written 3 times and is not there"):
        registry.add_facts(MODEL, FIRST, {"ours": "1"})
    assert server.calls("PATCH", "/model_versions/2") == 3
    registry.add_facts(MODEL, FIRST, {"ours": "1"})  # whoever did it has gone


def test_writers_of_one_model_follow_one_another(server: ModelRegistry) -> None:
    hook(server.url).register(release(), metrics={})
    writers = [
        threading.Thread(target=hook(server.url).add_facts, args=(MODEL, FIRST, {f"fact_{number}": "x"}))
        for number in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    found = hook(server.url).get_release(MODEL, FIRST)
    assert found is not None
    assert set(found.facts) == {f"fact_{number}" for number in range(8)}
    assert server.calls("PATCH") == 8


def test_writers_of_different_things_do_not_wait() -> None:
    entered = threading.Event()

    def other() -> None:
        with one_at_a_time("b"):
            entered.set()

    with one_at_a_time("a"):
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(60)
        thread.join()


# Breaking off


def writes(registry: ModelRegistryHook) -> None:
    """Release twice and take the second one back."""
    for version in (FIRST, SECOND):
        registry.register(release(version), metrics={})
        registry.set_state(MODEL, version, ReleaseState.LIVE)
    registry.set_state(MODEL, SECOND, ReleaseState.ROLLED_BACK)


@pytest.mark.long
@pytest.mark.parametrize("handled", ["before", "after"])
def test_a_write_that_breaks_off_anywhere_ends_in_the_same_record_when_it_is_repeated(handled: str) -> None:
    with model_registry() as server:
        writes(hook(server.url))
        count = server.calls("PATCH")
    for broken in range(count):
        with model_registry() as server:
            registry = hook(server.url)
            server.fault("reset", method="PATCH", skip=broken, handled=handled)
            failed = 0
            for version, entered in ((FIRST, "live"), (SECOND, "live"), (SECOND, "rolled back")):
                for _ in range(2):
                    try:
                        if entered == "live":
                            registry.register(release(version), metrics={})
                        registry.set_state(MODEL, version, ReleaseState(entered))
                        break
                    except ServiceUnavailableError:
                        failed += 1
            live = registry.get_live(MODEL)
            assert failed == 1
            assert live is not None
            assert (live.version, live.state) == (FIRST, ReleaseState.LIVE), broken
            assert state(registry, SECOND) is ReleaseState.ROLLED_BACK, broken
            assert registry.get_previous(MODEL) is None


def test_an_outage_is_one_for_who_was_let_in_before(server: ModelRegistry, registry: ModelRegistryHook) -> None:
    registry.register(release(), metrics={})
    server.fault("status", method="POST", status=503, body="database is not connected")

    with pytest.raises(OutageError):
        registry.register(release(SECOND), metrics={})


# In an event loop


async def test_triggers_read_without_blocking(registry: ModelRegistryHook) -> None:
    registry.register(release(), metrics={})
    registry.set_state(MODEL, FIRST, ReleaseState.LIVE)

    found = await registry.aget_release(MODEL, FIRST)

    assert found == registry.get_release(MODEL, FIRST) == await registry.aget_live(MODEL)
    assert [found] == await registry.alist_releases(MODEL)
    with pytest.raises(InvalidRequestError, match="never registered"):
        await registry.alist_releases(MODEL, before=SECOND)


async def test_a_trigger_finds_the_version_of_the_api_by_itself() -> None:
    with model_registry(versions=("v1alpha3",)) as server:
        assert await hook(server.url).aget_live(MODEL) is None
        server.switch("v1", gone=("v1alpha3",))
        assert await hook(server.url).aget_live(MODEL) is None
