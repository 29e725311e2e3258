"""What KServe's logger sends is put together and captured; what never comes whole is forgotten."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.capture.receiver import REQUEST, RESPONSE, HalfLimits, Receiver, application
from include.contracts.monitoring import captured
from tests.waiting import LIMIT_SECONDS

ADDRESS = "/iris?share=1&texts=keep&max_megabytes=10"
BODY = b'{"instances": [[5.1, 3.5]]}'
ANSWER = b'{"predictions": [0]}'


class World:
    """A receiver, and KServe's agent as kserve/kserve pkg/logger/worker.go sends: binary CloudEvents of version 1.0."""

    def __init__(self, store: Path, **limits: Any) -> None:
        self.store = store / "iris"
        self.store.mkdir()
        self.receiver = Receiver(store, HalfLimits(**limits))
        transport = httpx.ASGITransport(application(self.receiver))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://receiver")

    async def send(self, kind: str, event_id: str, body: bytes, address: str = ADDRESS, **headers: str) -> int:
        given = {
            "ce-id": event_id,
            "ce-type": kind,
            "ce-specversion": "1.0",
            "ce-source": "http://localhost:9081/",
            "ce-time": "2026-11-30T06:17:55.100000123Z",
            "ce-inferenceservicename": "iris",
            "ce-namespace": "models",
            "ce-component": "predictor",
            "ce-endpoint": "default",
            "ce-metadata": "{}",
            # Of the answer's event, too, it is the request's.
            "content-type": "application/json",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.post(address, content=body, headers=given)
        return answer.status_code

    def requests(self) -> dict[str, captured.CapturedRequest]:
        self.receiver.close(LIMIT_SECONDS)
        return {each.id: each for each in captured.read(self.store)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.receiver.close(LIMIT_SECONDS)


@pytest.mark.parametrize("is_answer_first", [False, True])
async def test_both_halves_become_one_request_in_whatever_order_they_come(is_answer_first: bool, world: World) -> None:
    events = [(REQUEST, BODY, "2026-11-30T06:17:55.100000123Z"), (RESPONSE, ANSWER, "2026-11-30T06:17:55.1125Z")]
    for kind, body, moment in reversed(events) if is_answer_first else events:
        assert await world.send(kind, "a-1", body, ce_time=moment) == 200

    (found,) = world.requests().values()
    assert (found.id, found.model, found.version, found.protocol) == ("a-1", "iris", None, "v1")
    assert found.latency_ms == pytest.approx(12.5)
    (row,) = found.rows
    assert (row.input, row.output, row.features) == ([5.1, 3.5], 0, {"x0": 5.1, "x1": 3.5})


async def test_the_version_is_the_one_that_the_answer_names(world: World) -> None:
    tensors = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [5.1, 3.5]}]}
    outputs = [{"name": "y", "shape": [1], "datatype": "INT64", "data": [2]}]
    answer = {"model_name": "iris", "model_version": "20261130061755", "outputs": outputs}
    await world.send(REQUEST, "a", json.dumps(tensors).encode())
    await world.send(RESPONSE, "a", json.dumps(answer).encode())

    found = world.requests()["a"]
    assert (found.version, found.protocol, found.rows[0].output) == ("20261130061755", "v2", 2)


async def test_what_a_client_calls_its_request_is_kept_when_it_may_stand_in_a_file(world: World) -> None:
    for event_id in ("chosen", "two words", "../../etc"):
        await world.send(REQUEST, event_id, BODY)
        await world.send(RESPONSE, event_id, ANSWER)

    found = world.requests()
    assert len(found) == 3
    assert "chosen" in found
    assert not {"two words", "../../etc"} & found.keys()


async def test_halves_that_stay_alone_are_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path, halves=3, seconds=3600)
    for number in range(5):
        await world.send(REQUEST, str(number), BODY)
    assert (len(world.receiver.halves), world.receiver.halves.lost) == (3, 2)
    await world.send(RESPONSE, "0", ANSWER)
    await world.send(RESPONSE, "4", ANSWER)

    assert world.requests().keys() == {"4"}


async def test_halves_are_bounded_in_bytes_and_in_time(tmp_path: Path) -> None:
    world = World(tmp_path, bytes=2 * len(BODY), seconds=0.01)
    for number in range(3):
        await world.send(REQUEST, str(number), BODY)
    assert len(world.receiver.halves) <= 2
    time.sleep(0.02)
    await world.send(REQUEST, "late", BODY)

    assert (len(world.receiver.halves), world.receiver.halves.lost) == (1, 3)


async def test_two_requests_with_one_id_are_no_pair(world: World) -> None:
    for kind, body in ((REQUEST, b'{"instances": [[1]]}'), (REQUEST, BODY), (RESPONSE, ANSWER)):
        await world.send(kind, "a", body)

    assert world.requests()["a"].rows[0].input == [5.1, 3.5]
    assert world.receiver.halves.lost == 1


async def test_a_candidate_has_no_users(world: World) -> None:
    for kind, body in ((REQUEST, BODY), (RESPONSE, ANSWER)):
        assert await world.send(kind, "a", body, ce_inferenceservicename="iris-candidate") == 200

    assert world.requests() == {}
    assert ("candidates", 2) in world.receiver.numbers()


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("/other?share=1", {}),
        ("/..%2Fetc?share=1", {}),
        ("/.hidden?share=1", {}),
        ("/iris?share=7", {}),
        ("/iris?share=1&texts=all", {}),
        (ADDRESS, {"ce_type": "org.example.other"}),
        (ADDRESS, {"ce_id": ""}),
        (ADDRESS, {"ce_id": "a" * 600}),
    ],
)
async def test_what_is_no_event_of_a_model_here_is_refused(address: str, headers: dict[str, str], world: World) -> None:
    assert await world.send(REQUEST, "a", BODY, address, **headers) in (400, 404)
    assert len(world.receiver.halves) == 0
    assert [path.name for path in world.store.parent.iterdir()] == ["iris"]


async def test_an_address_cannot_name_another_store(world: World, tmp_path: Path) -> None:
    for kind, body in ((REQUEST, BODY), (RESPONSE, ANSWER)):
        assert await world.send(kind, "a", body, f"{ADDRESS}&store=file:///tmp/elsewhere&enabled=false") == 200

    assert world.requests().keys() == {"a"}


async def test_a_large_body_is_read_and_not_captured(tmp_path: Path) -> None:
    world = World(tmp_path, body_bytes=1000)

    assert await world.send(REQUEST, "a", b"x" * 5000) == 200

    assert len(world.receiver.halves) == 0
    assert ("too_large", 1) in world.receiver.numbers()


async def test_its_numbers_are_told(world: World) -> None:
    await world.send(REQUEST, "a", BODY)

    text = (await world.client.get("/metrics")).text
    assert "captured_requests_halves 1" in text
    assert 'captured_requests_total{outcome="halves_lost"} 0' in text
    assert (await world.client.get("/ready")).status_code == 200
