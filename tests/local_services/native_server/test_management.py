"""A container of native servers does what it is told of versions in its own store, and refuses everything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import ModelVersion
from local_services.native_server.hook import LocalNativeHook
from local_services.roles import Role
from local_services.version_servers.management import MOST_ORDER_BYTES, Management
from local_services.version_servers.remote_processes import RemoteProcesses
from tests.native_support import build_native_version, native_connection
from tests.serving_support import MODEL

VERSION, OTHER = "20260101000000", "20260102000000"
SHA256 = "a" * 64
ORDER = {"model": MODEL, "version": VERSION, "sha256": SHA256, "settings": {"runtime": "native", "workers": 1}}


@pytest.fixture
def server(tmp_path: Path) -> LocalNativeHook:
    """Return a hook with the role of a container that has no interpreter to start anything with."""
    return LocalNativeHook(connection=native_connection("/no/python", tmp_path / "state", port=1, role=Role.SERVER))


@pytest.fixture
def version(server: LocalNativeHook, tmp_path: Path) -> ModelVersion:
    """Return a version that the container's store has."""
    built = build_native_version(tmp_path / "published", VERSION)
    server._store.fetch(built, f"{MODEL}-{VERSION}")
    return built


@pytest.fixture
async def service(server: LocalNativeHook) -> AsyncIterator[SimpleNamespace]:
    processes, store, _ = server.own_parts()
    processes.make_folders()
    management = Management(processes, store)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(management), base_url="http://service") as client:
        yield SimpleNamespace(management=management, client=client, processes=processes)
    shutil.rmtree(processes.run_dir)


def but(**changes: Any) -> bytes:
    return json.dumps({**ORDER, **changes}).encode()


@pytest.mark.parametrize("verb", ["start", "stop", "failure", "state", "gone"])
@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "the document"),
        (b"{", "the document"),
        (b"[]", "the document"),
        (b"[" * 90_000, "the document"),
        (b"{}", "model"),
        (but(model="../../etc"), "model"),
        (but(model="/etc/passwd"), "model"),
        (but(model="Toy"), "model"),
        (but(model=f"{MODEL}\n"), "model"),
        (but(model=7), "model"),
        (but(version="latest"), "version"),
        (but(version=f"{VERSION}/.."), "version"),
        (but(version=int(VERSION)), "version"),
        (but(sha256=""), "sha256"),
        (but(sha256="A" * 64), "sha256"),
        (but(sha256="a" * 63), "sha256"),
        (but(sha256=None), "sha256"),
        (but(settings=None), "settings"),
        (but(settings={"workers": 0}), "settings.workers"),
        (but(settings={"workers": "1"}), "settings.workers"),
        (but(settings={"predictor": "x"}), "settings.predictor"),
        (but(path="/var/lib/releases/store"), "path"),
        (but(archive="other-20260101000000"), "archive"),
        (but(uri="http://example.org/model.mar"), "uri"),
        (but(python="/bin/sh"), "python"),
        (but(reason="x" * 10_001), "reason"),
    ],
)
async def test_what_is_no_order_is_refused_with_its_place(
    service: SimpleNamespace, verb: str, body: bytes, place: str
) -> None:
    answer = await service.client.post(f"/{verb}", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"This is no order: {place}: ")
    assert "/etc" not in answer.text
    assert list(service.processes.run_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("POST", "/", 404, None),
        ("POST", "/start/", 404, None),
        ("POST", "/versions", 404, None),
        ("POST", "/run_dir", 404, None),
        ("POST", "/router/%2e%2e/start", 404, None),
        ("GET", "/metrics", 404, None),
        ("GET", "/start", 405, "POST"),
        ("DELETE", "/stop", 405, "POST"),
        ("DELETE", "/router", 405, "GET, POST"),
    ],
)
async def test_other_addresses_and_methods_are_refused(
    service: SimpleNamespace, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = await service.client.request(method, path, content=but())
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)


async def test_an_order_has_a_largest_size(service: SimpleNamespace) -> None:
    answer = await service.client.post("/start", content=b" " * (MOST_ORDER_BYTES + 1))
    assert answer.status_code == 413


@pytest.mark.processes
async def test_only_what_lies_in_the_store_with_its_digest_is_started(
    service: SimpleNamespace, version: ModelVersion
) -> None:
    async def refusal(**changes: Any) -> str:
        answer = await service.client.post("/start", content=but(**changes))
        assert answer.status_code == 400
        return answer.json()["error"]

    assert "missing or was changed" in await refusal()
    assert "missing or was changed" in await refusal(sha256=version.archive_sha256, version=OTHER)
    assert list(service.processes.run_dir.iterdir()) == []
    # The right one gets as far as this container can: it has no interpreter.
    told = await refusal(sha256=version.archive_sha256)
    assert "/no/python cannot be started" in told
    assert "include/requirements.txt" in told


async def test_a_version_is_told_of_until_it_is_stopped(service: SimpleNamespace) -> None:
    async def ask(verb: str, **changes: Any) -> Any:
        answer = await service.client.post(f"/{verb}", content=but(**changes))
        assert answer.status_code == 200
        return answer.json()

    assert await ask("state") == {"state": None, "reason": None}
    assert await ask("gone") == {"is_gone": True}
    await ask("failure", reason="the disk is full")
    assert await ask("state") == {"state": "FAILED", "reason": "It could not be loaded. the disk is full"}
    assert await ask("gone") == {"is_gone": False}
    assert await ask("gone", sha256="b" * 64) == {"is_gone": True}
    for _ in range(2):
        await ask("stop")
    assert await ask("state") == {"state": None, "reason": None}
    assert (await service.client.get("/router")).json() == {"is_up": False}


async def test_who_is_being_stopped_answers_and_carries_out_nothing(service: SimpleNamespace) -> None:
    service.management.close()
    for path in ("/start", "/stop", "/failure", "/router"):
        answer = await service.client.post(path, content=but())
        assert (answer.status_code, answer.json()) == (503, {"error": "This service is being stopped."})
    assert (await service.client.post("/state", content=but())).status_code == 200


def test_a_client_starts_and_stops_nothing_where_nobody_answers(tmp_path: Path) -> None:
    hook = LocalNativeHook(connection=native_connection("", tmp_path / "state", port=1, role=Role.CLIENT))
    assert isinstance(hook._processes, RemoteProcesses)
    with pytest.raises(ServiceUnavailableError, match="docker compose up -d native"):
        hook.get_live(MODEL)
    is_ok, message = hook.test_connection()
    assert (is_ok, "docker compose up -d native" in message) == (False, True)
    assert hook.status() == []
    with pytest.raises(InvalidRequestError, match="service of its own"):
        hook.stop()
    assert not hook._settings.run_dir("native-server").exists()


@pytest.mark.parametrize(("role", "host"), [(Role.CLIENT, "native"), (Role.SERVER, "0.0.0.0")])
def test_only_servers_on_demand_are_bound_to_loopback(tmp_path: Path, role: Role, host: str) -> None:
    connect: Callable[..., Any] = lambda **more: native_connection("/usr/bin/python3", tmp_path, port=8088, **more)  # noqa: E731
    conn = connect(role=role)
    conn.host = host
    assert LocalNativeHook(connection=conn).settings.address == f"http://{host}:8088"
    conn = connect()
    conn.host = host
    with pytest.raises(InvalidRequestError, match=r"loopback.*set `role`"):
        LocalNativeHook(connection=conn).start()


def test_users_are_told_the_address_that_they_know(tmp_path: Path) -> None:
    conn = native_connection("", tmp_path / "state", role=Role.CLIENT, public_url="https://models.example.org/")
    assert (
        LocalNativeHook(connection=conn).endpoint_url("reviews")
        == "https://models.example.org/v1/models/reviews:predict"
    )
