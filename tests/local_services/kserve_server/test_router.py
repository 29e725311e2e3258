"""All of a model's traffic goes where the record says, from the moment that it is written, and no request is lost."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_services.kserve_server.runtime import router as router_module
from local_services.kserve_server.runtime.layout import server_folder, socket_of
from local_services.kserve_server.runtime.router import RecordFile, Router
from local_services.record import Record, ServedModel, StoredVersion

FIRST, SECOND = "20260101000000", "20260102000000"
PREDICT = "/v1/models/toy:predict"
SHA256 = "a" * 64
SETTINGS = {"predictor": {"format": "sklearn", "protocol": "v1"}}


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="router-") as folder:  # pytest's paths are too long for a socket
        yield Path(folder)


class World:
    """A router, the record that it goes by, and processes of versions that answer with their names."""

    def __init__(self, run_dir: Path, state_dir: Path) -> None:
        self.record = Record(state_dir, suffix="")
        self.run_dir = run_dir
        self.router = Router(RecordFile(state_dir / "live.json", run_dir))
        transport = httpx.ASGITransport(self.router)
        self.client = httpx.AsyncClient(
            transport=transport, base_url="http://router", headers={"Content-Type": "application/json"}
        )
        self.servers: dict[str, asyncio.Server] = {}
        self.requests: list[str] = []
        self.reset = False

    def write(self, live: str | None, *, model: str = "toy") -> None:
        versions = {
            version: StoredVersion(archive=f"{model}-{version}", sha256=SHA256, settings=SETTINGS)
            for version in (FIRST, SECOND)
        }
        self.record.write(model, ServedModel(live=live, versions=versions))

    async def serve(self, version: str) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            if self.reset:
                writer.transport.abort()
                return
            text = f"HTTP/1.1 200 OK\r\nX-Model-Version: {version}\r\nX-Inner: 1\r\nContent-Length: 2\r\n\r\n{{}}"
            writer.write(text.encode())
            await writer.drain()
            writer.close()

        folder = server_folder(self.run_dir, "toy", version, SHA256, SETTINGS["predictor"])
        folder.mkdir(exist_ok=True)
        socket_of(folder).unlink(missing_ok=True)
        self.servers[version] = await asyncio.start_unix_server(answer, socket_of(folder))

    async def stop(self, version: str) -> None:
        self.servers[version].close()

    async def answering(self, path: str = PREDICT) -> Any:
        answer = await self.client.post(path, content=b"{}")
        return answer.headers.get("x-model-version", answer.status_code)


@pytest.fixture
async def world(run_dir: Path, tmp_path: Path) -> AsyncIterator[World]:
    world = World(run_dir, tmp_path)
    async with world.client:
        yield world
    for server in world.servers.values():
        server.close()


async def test_the_live_version_answers_and_each_for_itself(world: World) -> None:
    await world.serve(FIRST)
    await world.serve(SECOND)
    world.write(FIRST)
    assert await world.answering() == FIRST
    assert await world.answering("/v2/models/toy/infer") == FIRST
    assert await world.answering(f"/versions/{SECOND}{PREDICT}") == SECOND
    world.write(SECOND)
    assert await world.answering() == SECOND
    assert await world.answering(f"/versions/{FIRST}{PREDICT}") == FIRST
    assert world.requests[-1].startswith(f"POST {PREDICT} HTTP/1.1")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/v1/models",
        "/v1/models/../toy:predict",
        "/v1/models/toy:explain",
        "/v2/models/toy/versions/1/infer",
        "/v2/repository/models/toy/unload",
        "/versions/1/v1/models/toy:predict",
    ],
)
async def test_other_addresses_lead_nowhere(world: World, path: str) -> None:
    await world.serve(FIRST)
    world.write(FIRST)
    assert await world.answering(path) == 404
    assert world.requests == []


async def test_what_is_not_deployed_is_not_found(world: World) -> None:
    assert await world.answering() == 404
    world.write(None)
    answer = await world.client.post(PREDICT, content=b"{}")
    assert (answer.status_code, answer.headers["x-model-router"]) == (404, "unknown-model")
    assert await world.answering("/versions/20200101000000/v1/models/toy:predict") == 404
    assert await world.answering("/v1/models/other:predict") == 404


async def test_a_process_that_is_gone_is_told_from_an_answer(world: World) -> None:
    world.write(FIRST)
    answer = await world.client.post(PREDICT, content=b"{}")
    assert (answer.status_code, answer.headers["x-model-router"]) == (503, "no-server")
    assert answer.headers["retry-after"] == "1"
    await world.serve(FIRST)
    assert await world.answering() == FIRST


@pytest.mark.parametrize("how", ["gone", "ends the connection"])
async def test_a_request_that_meets_a_switch_is_answered_by_the_new_version(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.serve(FIRST)
    await world.serve(SECOND)
    world.write(FIRST)
    assert await world.answering() == FIRST
    ask = Router._ask

    async def switch_in_between(self: Router, target: str, *arguments: Any) -> httpx.Response:
        monkeypatch.setattr(Router, "_ask", ask)
        world.write(SECOND)
        world.reset = how != "gone"
        if how == "gone":
            await world.stop(FIRST)
        try:
            return await ask(self, target, *arguments)
        finally:
            world.reset = False

    monkeypatch.setattr(Router, "_ask", switch_in_between)
    assert await world.answering() == SECOND


async def test_a_process_that_dies_of_a_request_gets_it_once(world: World) -> None:
    await world.serve(FIRST)
    world.write(FIRST)
    world.reset = True
    assert await world.answering() == 503
    assert len(world.requests) == 1


async def test_a_record_that_cannot_be_read_changes_nothing(world: World, tmp_path: Path) -> None:
    await world.serve(FIRST)
    world.write(FIRST)
    assert await world.answering() == FIRST
    for text in ("", "[" * 100_000, "[]", '{"models": {"toy": 1}}', json.dumps({"models": {"toy": {"live": "1"}}})):
        (tmp_path / "live.json").write_text(text)
        assert await world.answering() == FIRST
    (tmp_path / "live.json").unlink()
    assert await world.answering() == FIRST


async def test_a_record_that_was_made_anew_leaves_the_traffic_where_it_is(world: World) -> None:
    await world.serve(FIRST)
    await world.serve(SECOND)
    world.write(FIRST)
    assert await world.answering() == FIRST
    without_settings = {version: StoredVersion(archive=f"toy-{version}", sha256=SHA256) for version in (FIRST, SECOND)}
    world.record.write("toy", ServedModel(versions=without_settings, is_live_known=False))
    assert await world.answering() == FIRST
    world.write(SECOND)
    assert await world.answering() == SECOND
    world.write(None)
    assert await world.answering() == 404


async def test_only_what_belongs_to_a_prediction_is_handed_on(world: World) -> None:
    await world.serve(FIRST)
    world.write(FIRST)
    answer = await world.client.post(PREDICT, content=b"{}", headers={"Cookie": "secret", "X-Forwarded-For": "1"})
    assert set(answer.headers) == {"x-model-version", "content-length"}
    [head] = world.requests
    assert "content-type: application/json" in head.lower()
    assert "Cookie" not in head
    assert "Forwarded" not in head


async def test_a_body_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.serve(FIRST)
    world.write(FIRST)
    monkeypatch.setattr(router_module, "MOST_BODY_BYTES", 10)
    assert (await world.client.post(PREDICT, content=b" " * 11)).status_code == 413
    assert world.requests == []


async def test_it_says_that_it_is_there(world: World) -> None:
    assert (await world.client.get("/v2/health/live")).json() == {"live": True}
    assert (await world.client.get("/v2/health/ready")).json() == {"ready": True}
