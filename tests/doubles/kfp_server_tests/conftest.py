"""The double, and a real server where there is one: what holds for one must hold for the other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.doubles.kfp_server import KfpServer, kfp_server

V2 = "/apis/v2beta1"
ENDPOINT = os.environ.get("KFP_ENDPOINT")
NAMESPACE = os.environ.get("KFP_NAMESPACE")


@pytest.fixture
def double() -> Iterator[KfpServer]:
    with kfp_server() as server:
        yield server


@pytest.fixture(params=["double", "real"])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    if request.param == "real" and not ENDPOINT:
        pytest.skip("KFP_ENDPOINT names no server")
    url = str(ENDPOINT) if request.param == "real" else request.getfixturevalue("double").url
    token = os.environ.get("KFP_TOKEN") if request.param == "real" else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def scope(client: httpx.Client) -> dict[str, str]:
    """Return what names the namespace where that is wanted."""
    is_multi_user = client.get(f"{V2}/healthz").json().get("multi_user")
    return {"namespace": str(NAMESPACE)} if is_multi_user else {}


@pytest.fixture
def experiment(client: httpx.Client, scope: dict[str, str]) -> dict[str, Any]:
    answer = client.post(f"{V2}/experiments", json={"display_name": f"test {uuid4()} + 100%", **scope})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture
def reference(client: httpx.Client, scope: dict[str, str], record_and_wait: str) -> dict[str, str]:
    pipeline = client.post(f"{V2}/pipelines", json={"display_name": f"test-{uuid4()}", **scope}).json()
    answer = upload(client, pipeline["pipeline_id"], "first", record_and_wait)
    assert answer.status_code == 200, answer.text
    return {name: answer.json()[name] for name in ("pipeline_id", "pipeline_version_id")}


def upload(client: httpx.Client, pipeline_id: str, name: str, pipeline_file: str) -> httpx.Response:
    content = Path(pipeline_file).read_bytes()
    query = {"pipelineid": pipeline_id, "name": name}
    return client.post(f"{V2}/pipelines/upload_version", params=query, files={"uploadfile": ("p.yaml", content)})


def where(name: str) -> str:
    return json.dumps({"predicates": [{"key": "display_name", "operation": "EQUALS", "string_value": name}]})
