"""KServe's application is reached through the one model's routes only, with JSON, and no error repeats a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local_services.kserve_server.runtime import exchange, guard
from local_services.kserve_server.runtime.guard import Guard

SECRET = "my medical history"
VERSION = "20260101000000"
JSON = {"Content-Type": "application/json"}


class Application:
    """An ASGI application that answers as KServe's would: with what it was sent, and errors with it in them."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[bytes, bytes], bytes]] = []
        self.status = 200
        self.error: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.seen.append((scope["path"], dict(scope["headers"]), message["body"]))
        await self.hold.wait()
        headers = [(b"content-type", b"text/html"), (b"x-secret", SECRET.encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": message["body"][:5], "more_body": True})
        await send({"type": "http.response.body", "body": message["body"][5:]})
        if self.error:
            raise self.error


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
async def client(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    guarded = Guard(application, model="toy", version=VERSION, is_ready=lambda: application.status == 200)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://model") as client:
        yield client


BODY = json.dumps({"instances": [SECRET]}).encode()
PREDICT = "/v1/models/toy:predict"


@pytest.mark.parametrize("path", [PREDICT, "/v2/models/toy/infer"])
@pytest.mark.parametrize("media_type", ["application/json", 'Application/JSON; charset="UTF-8"'])
async def test_a_prediction_goes_through_and_names_its_version(
    client: httpx.AsyncClient, application: Application, path: str, media_type: str
) -> None:
    more = {"Content-Type": media_type, "Cookie": "x", "ce-id": "1", "Inference-Header-Content-Length": "3"}
    answer = await client.post(path, content=BODY, headers=more)
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["x-model-version"] == VERSION
    assert (answer.headers["content-type"], "x-secret" in answer.headers) == ("application/json", False)
    [(seen, headers, body)] = application.seen
    assert (seen, body, headers[b"content-type"]) == (path, BODY, b"application/json")
    assert set(headers) == {b"host", b"content-type", b"content-length"}


@pytest.mark.parametrize("path", ["/v1/models/toy", "/v2/models/toy", "/v2/models/toy/ready", "/v2", "/v2/health/live"])
async def test_its_state_can_be_asked_for(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200
    assert (await client.post(path, content=BODY, headers=JSON)).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/toy/unload",
        "/v2/repository/models/toy/load",
        "/v2/repository/index",
        "/v1/models/toy:explain",
        "/v1/models/other:predict",
        "/v1/models",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/",
        "/v2/models/toy/versions/1/infer",
        "/v1/models/toy:predict/",
    ],
)
async def test_nothing_else_is_reached(client: httpx.AsyncClient, application: Application, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await client.request(method, path, content=BODY, headers=JSON)
        assert answer.status_code == 404
    assert application.seen == []


async def test_it_is_ready_when_its_model_is(client: httpx.AsyncClient, application: Application) -> None:
    assert (await client.get("/v2/health/ready")).status_code == 200
    application.status = 503
    answer = await client.get("/v2/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False})


@pytest.mark.parametrize(
    "media_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "application/json; charset=x"],
)
async def test_what_is_no_json_is_refused(client: httpx.AsyncClient, application: Application, media_type: str) -> None:
    answer = await client.post(PREDICT, content=BODY, headers={"Content-Type": media_type})
    assert answer.status_code == 415
    assert application.seen == []


@pytest.mark.parametrize(
    "body", [b"", SECRET.encode(), b'{"x": NaN}', b"[1]", b"[" * 100_000, b"\xff{}", b'{"a": 1} x', b"1" * 5_000]
)
async def test_what_is_no_object_is_refused(client: httpx.AsyncClient, application: Application, body: bytes) -> None:
    answer = await client.post(PREDICT, content=body, headers=JSON)
    assert answer.status_code == 400
    assert SECRET not in answer.text
    assert application.seen == []


@pytest.mark.parametrize(("status", "told"), [(400, 400), (422, 400), (404, 404), (500, 500), (501, 501), (503, 503)])
async def test_an_error_has_a_text_of_our_own(
    client: httpx.AsyncClient, application: Application, status: int, told: int
) -> None:
    application.status = status
    answer = await client.post(PREDICT, content=BODY, headers=JSON)
    assert (answer.status_code, list(answer.json())) == (told, ["error"])
    assert SECRET not in answer.text + str(answer.headers)
    assert answer.headers["x-model-version"] == VERSION


async def test_an_exception_is_told_by_its_type(
    client: httpx.AsyncClient, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    application.status, application.error = 500, ValueError(SECRET)
    answer = await client.post(PREDICT, content=BODY, headers=JSON)
    assert answer.status_code == 500
    assert "ValueError" in caplog.text
    assert SECRET not in answer.text + caplog.text


async def test_a_body_is_bounded_whatever_it_says_of_itself(
    client: httpx.AsyncClient, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_BODY_BYTES", 1_000)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    for content in (b" " * 1_001, pieces()):
        answer = await client.post(PREDICT, content=content, headers=JSON)
        assert answer.status_code == 413
    assert application.seen == []


async def test_a_body_that_does_not_come_is_given_up(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_BODY_SECONDS", 0.01)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    guarded = Guard(application, model="toy", version=VERSION, is_ready=lambda: True)
    scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": [(b"content-type", b"application/json")]}
    await guarded(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_more_than_can_wait_are_told_to_come_back(
    client: httpx.AsyncClient, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_MOST_AT_ONCE", 2)
    application.hold.clear()
    waiting = [asyncio.create_task(client.post(PREDICT, content=BODY, headers=JSON)) for _ in range(2)]
    while len(application.seen) < 2:
        await asyncio.sleep(0)
    refused = await client.post(PREDICT, content=BODY, headers=JSON)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (await client.get("/v2/health/ready")).status_code == 200
    application.hold.set()
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
    assert (await client.post(PREDICT, content=BODY, headers=JSON)).status_code == 200
