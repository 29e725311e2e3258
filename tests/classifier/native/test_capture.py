"""The native server captures what it has answered, and says so in its numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from include.classifier.native.v2_grpc.messages import SERVICE, message_class
from include.contracts.monitoring import captured
from include.contracts.monitoring.capture_environment import SETTINGS_VARIABLE
from tests.classifier.serving.servers import VERSION, native
from tests.waiting import LIMIT_SECONDS
from tests.writer_in_thread import write_in_threads

PATH = "/v1/models/tiny:predict"
SECRET = "Zyxwvut"


@pytest.fixture(autouse=True)
def writer_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    write_in_threads(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store" / "tiny"


@pytest.fixture
def server(unpacked: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    settings = {"share": 1, "texts": "hash", "store": f"file://{store}"}
    monkeypatch.setenv(SETTINGS_VARIABLE, json.dumps(settings))
    with native(unpacked) as server:
        yield server


def requests(server: Any, store: Path) -> dict[str, captured.CapturedRequest]:
    server.service.state.capture.close(LIMIT_SECONDS)
    return {each.id: each for each in captured.read(store)}


def test_every_form_of_request_is_captured_under_the_id_that_its_client_knows(server: Any, store: Path) -> None:
    instances = json.dumps({"instances": [f"good food {SECRET}", {"data": "bad"}]}).encode()
    tensor = {"id": "of-the-body", "inputs": [{"name": "t", "shape": [1], "datatype": "BYTES", "data": ["good"]}]}
    chosen = server.ask("POST", PATH, instances, {"X-Request-Id": "chosen"})
    assert chosen.headers["x-request-id"] == "chosen"
    server.predict("/v2/models/tiny/infer", tensor)
    drawn = server.ask("POST", "/predictions/tiny", b"good food", {"Content-Type": "text/plain"})
    hostile = server.ask("POST", PATH, instances, {"X-Request-Id": "../x y"})
    refused = server.ask("POST", PATH, b"{}", {"X-Request-Id": "refused"})
    server.ask("POST", PATH, instances, {"X-Request-Id": "not-me", "X-Capture": "off"})
    assert (drawn.status, hostile.status, refused.status) == (200, 200, 400)
    assert hostile.headers["x-request-id"] != "../x y"

    found = requests(server, store)

    assert found.keys() == {"chosen", "of-the-body", drawn.headers["x-request-id"], hostile.headers["x-request-id"]}
    first = found["chosen"]
    answered = json.loads(chosen.body)["predictions"]
    assert (first.model, first.version, first.protocol) == ("tiny", VERSION, "v1")
    assert first.latency_ms
    for row, answer in zip(first.rows, answered, strict=True):
        assert (row.output, row.confidence) == (answer["label"], answer["score"])
        assert row.probabilities == answer["probabilities"]
        assert row.input.keys() == {"sha256"}
        assert row.features["script"] == "Latin"
        assert "unknown_share" in row.features
    assert {each.protocol for each in found.values()} == {"v1", "v2", "raw"}
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in store.rglob("*") if path.is_file())
    assert 'model_server_captured_requests_total{outcome="written"} 4' in server.service.metrics.text()


def test_a_call_of_grpc_is_captured_once_under_the_id_in_its_metadata(
    unpacked: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTINGS_VARIABLE, json.dumps({"share": 1, "texts": "hash", "store": f"file://{store}"}))
    request = message_class("ModelInferRequest")(model_name="tiny", id="of-the-body")
    tensor = request.inputs.add(name="texts", datatype="BYTES", shape=[2])
    tensor.contents.bytes_contents.extend([f"good food {SECRET}".encode(), b"bad"])
    with native(unpacked, has_grpc=True) as server, grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_class("ModelInferResponse").FromString,
        )
        answer = infer(request, metadata=[("x-request-id", "chosen")], timeout=LIMIT_SECONDS)
        infer(request, timeout=LIMIT_SECONDS)
        infer(request, metadata=[("x-request-id", "not-me"), ("x-capture", "off")], timeout=LIMIT_SECONDS)
        server.service.state.capture.close(LIMIT_SECONDS)

    found = {each.id: each for each in captured.read(store)}
    assert found.keys() == {"chosen", "of-the-body"}
    first = found["chosen"]
    assert (first.model, first.version, first.protocol) == ("tiny", VERSION, "v2")
    assert first.latency_ms
    labels = next(output for output in answer.outputs if output.name == "label").contents.bytes_contents
    assert [row.output for row in first.rows] == [label.decode() for label in labels]
    assert all(row.confidence == (row.probabilities or {})[str(row.output)] for row in first.rows)
    files = b"".join(path.read_bytes() for path in store.rglob("*.jsonl"))
    assert files.count(b'"chosen"') == 1
    assert SECRET.encode() not in files


def test_a_server_captures_nothing_unless_it_is_told_to(unpacked: Path, store: Path) -> None:
    with native(unpacked) as server:
        assert server.predict(PATH, {"instances": ["good"]})[0] == 200

        assert server.service.state.capture is None
        assert "captured" not in server.service.metrics.text()


@pytest.mark.parametrize("settings", ["{", "[]", '{"share": 7, "store": "file:///x"}', '{"store": "s3://bucket/x"}'])
def test_settings_that_are_wrong_keep_no_server_from_serving(
    settings: str, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTINGS_VARIABLE, settings)
    with native(unpacked) as server:
        assert server.predict(PATH, {"instances": ["good"]})[0] == 200
        assert server.service.state.capture is None


def test_a_store_that_cannot_be_written_is_nothing_that_a_client_notices(server: Any, store: Path) -> None:
    store.parent.mkdir()
    store.write_text("a file")

    for _ in range(3):
        assert server.predict(PATH, {"instances": ["good"]})[0] == 200
    server.service.state.capture.close(LIMIT_SECONDS)

    assert server.service.state.capture.counts.written == 0
