"""The oddities of a Kubeflow Model Registry, asked for without our own hook.

They run over the double, and over a real server when ``MODEL_REGISTRY_URL`` (the address without
``/api/model_registry``) is set, with ``MODEL_REGISTRY_TOKEN`` where a gateway wants one. What they make there stays,
under names of their own: nothing can be deleted.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.captured import captured, versions
from tests.capturing.doubles import record
from tests.capturing.model_registry import text
from tests.doubles.model_registry import ModelRegistry, model_registry

URL = os.environ.get("MODEL_REGISTRY_URL")
API = "/api/model_registry"


@pytest.fixture
def double() -> Iterator[ModelRegistry]:
    with model_registry() as server:
        yield server


@pytest.fixture(params=[(where, version) for where in ("double", "real") for version in ("v1", "v1alpha3")])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    where, version = request.param
    if where == "real" and not URL:
        pytest.skip("MODEL_REGISTRY_URL names no server")
    url = str(URL) if where == "real" else request.getfixturevalue("double").url
    token = os.environ.get("MODEL_REGISTRY_TOKEN") if where == "real" else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=f"{url}{API}/{version}", headers=headers, timeout=60) as client:
        if client.get("/registered_models", params={"pageSize": 1}).status_code in (404, 410):
            pytest.skip(f"the server has no {version}")
        yield client


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def model(client: httpx.Client, name: str) -> dict[str, Any]:
    return made(client, "/registered_models", {"name": name})


def made(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def version_of(client: httpx.Client, model: dict[str, Any], name: str, **marks: str) -> dict[str, Any]:
    properties = {key.replace("__", "."): text(value) for key, value in marks.items()}
    body = {"name": name, "registeredModelId": model["id"], "customProperties": properties}
    return made(client, "/model_versions", body)


def found(client: httpx.Client, model: dict[str, Any], query: str, **more: Any) -> list[str]:
    path = f"/registered_models/{model['id']}/versions"
    answer = client.get(path, params={"filterQuery": query, "orderBy": "ID", **more})
    assert answer.status_code == 200, answer.text
    return [entry["name"] for entry in answer.json()["items"]]


@pytest.mark.parametrize("version", versions("model_registry"))
def test_the_double_answers_a_recording_word_by_word(version: str, tmp_path: Path) -> None:
    """Names, ids, states and messages; only times differ, and what is made of them."""

    def normal(call: dict[str, Any]) -> str:
        document = json.dumps({"status": call["status"], "answer": call["answer"]}, sort_keys=True)
        document = re.sub(r'"nextPageToken": "[^"]+"', '"nextPageToken": "..."', document)
        return re.sub(r'(TimeSinceEpoch": )"\d{13}"', r"\1...", document)

    calls = {call["what"]: call for call in json.loads(record("model_registry", version, tmp_path).read_text())}

    assert list(calls) == list(captured("model_registry", version))
    for what, call in captured("model_registry", version).items():
        assert normal(calls[what]) == normal(call), what


def test_an_external_id_is_unique_over_models_and_versions(client: httpx.Client, name: str) -> None:
    model = made(client, "/registered_models", {"name": name, "externalId": name})
    body = {"name": "1", "registeredModelId": model["id"], "externalId": name}

    assert client.post("/model_versions", json=body).status_code == 409


def test_a_post_with_an_id_into_a_nested_collection_updates(client: httpx.Client, model: dict[str, Any]) -> None:
    version = version_of(client, model, "1", a="0")
    body = {"id": version["id"], "description": "d"}

    answer = client.post(f"/registered_models/{model['id']}/versions", json={**body, "name": "1"})

    assert (answer.status_code, answer.json()["id"]) == (201, version["id"])


def test_an_artifact_without_a_name_is_made_twice_and_one_with_a_name_once(
    client: httpx.Client, model: dict[str, Any]
) -> None:
    path = f"/model_versions/{version_of(client, model, '1')['id']}/artifacts"
    body = {"artifactType": "model-artifact", "uri": "s3://b/x"}
    assert len({made(client, path, body)["id"] for _ in range(2)}) == 2
    made(client, path, {**body, "name": "package"})

    assert client.post(path, json={**body, "name": "package"}).status_code == 409


def test_a_version_that_is_patched_without_its_state_is_live_again(client: httpx.Client, model: dict[str, Any]) -> None:
    path = f"/model_versions/{version_of(client, model, '1')['id']}"
    assert client.patch(path, json={"state": "ARCHIVED"}).json()["state"] == "ARCHIVED"
    assert client.patch(path, json={"description": "d", "state": "ARCHIVED"}).json()["state"] == "ARCHIVED"

    assert client.patch(path, json={"customProperties": {}}).json()["state"] == "LIVE"


def test_null_keeps_the_properties_and_an_empty_text_is_kept(client: httpx.Client, model: dict[str, Any]) -> None:
    path = f"/model_versions/{version_of(client, model, '1', a='')['id']}"

    answer = client.patch(path, json={"customProperties": None, "state": "LIVE"}).json()

    assert answer["customProperties"] == {"a": text("")}


def test_what_a_get_answers_cannot_be_sent_back(client: httpx.Client, model: dict[str, Any]) -> None:
    answer = client.patch(f"/registered_models/{model['id']}", json=model)

    assert (answer.status_code, answer.json()["code"]) == (400, "Bad Request")


def test_numbers_of_31_bits_are_kept_and_a_release_version_is_not(client: httpx.Client, model: dict[str, Any]) -> None:
    path = f"/registered_models/{model['id']}"
    number = {"metadataType": "MetadataIntValue", "int_value": "42"}
    assert client.patch(path, json={"customProperties": {"n": number}}).json()["customProperties"] == {"n": number}
    number["int_value"] = "20260101000000"

    assert client.patch(path, json={"customProperties": {"n": number}}).status_code >= 400
    proto = {"metadataType": "MetadataProtoValue", "type": "x", "proto_value": ""}
    assert client.patch(path, json={"customProperties": {"n": proto}}).status_code == 400


def test_versions_of_an_unknown_model_are_an_empty_list(client: httpx.Client) -> None:
    answer = client.get("/registered_models/987654321/versions")

    assert (answer.status_code, answer.json()["items"]) == (200, [])


def test_filters_see_properties_in_backticks_and_fields_by_name(client: httpx.Client, model: dict[str, Any]) -> None:
    first, second, third = (
        version_of(client, model, "1", release__state="live", n="a"),
        version_of(client, model, "2", release__state="rolled back", n="b"),
        version_of(client, model, "3"),
    )
    assert found(client, model, "`release.state` = 'rolled back'") == ["2"]
    assert found(client, model, "`release.state` != 'live'") == ["2"], "only of what has the property"
    assert found(client, model, "`release.state` <> 'live'") == ["1"], "it is taken for ="
    assert found(client, model, f"id < {third['id']}", sortOrder="DESC") == ["2", "1"]
    assert found(client, model, f"n > 'a' AND id > {first['id']}") == ["2"]
    assert found(client, model, f"(n = 'a' OR n IN ('b', 'c')) AND id >= {second['id']}") == ["2"]
    assert client.get("/model_versions", params={"filterQuery": "name = 'it''s'"}).status_code == 400


def test_pages_end_with_an_empty_token(client: httpx.Client, model: dict[str, Any]) -> None:
    for number in range(5):
        version_of(client, model, str(number))
    seen, token = [], ""
    while token or not seen:
        query = {"pageSize": 2, "orderBy": "ID", "sortOrder": "DESC"} | ({"nextPageToken": token} if token else {})
        page = client.get(f"/registered_models/{model['id']}/versions", params=query).json()
        seen += [entry["name"] for entry in page["items"]]
        token = page["nextPageToken"]

    assert seen == ["4", "3", "2", "1", "0"]


def test_a_service_of_an_unknown_environment_is_refused(client: httpx.Client, model: dict[str, Any]) -> None:
    body = {"name": "x", "servingEnvironmentId": "987654321", "registeredModelId": model["id"]}

    assert client.post("/inference_services", json=body).status_code == 404


def test_a_server_has_the_versions_of_the_api_that_its_release_has() -> None:
    with model_registry(versions=("v1alpha3",)) as server, httpx.Client(base_url=server.url) as client:
        assert client.get(f"{API}/v1/registered_models").status_code == 404
        assert client.get(f"{API}/v1alpha3/registered_models").status_code == 200
        server.switch("v1", gone=("v1alpha3",))
        assert client.get(f"{API}/v1/registered_models").status_code == 200
        assert client.get(f"{API}/v1alpha3/registered_models").status_code == 410
