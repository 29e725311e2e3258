"""gRPC's calls answer what V2 answers over HTTP, within the same limits, and tell no text."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from include.classifier.native.bodies import MAX_BODY_BYTES
from include.classifier.native.server import Limits
from include.classifier.native.v2_grpc.messages import SERVICE, message_class
from tests.classifier.native.holding import busy
from tests.classifier.serving.servers import VERSION, native
from tests.waiting import LIMIT_SECONDS, wait_for

SECRET = "Zyxwvut"
TEXTS = ["good food", "bad", "the place was very slow"]
INVALID, TOO_MUCH = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
NOT_FOUND, UNAVAILABLE = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE

Request, Response = message_class("ModelInferRequest"), message_class("ModelInferResponse")
Parameter = message_class("InferParameter")


class Client:
    """Calls a server."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")

    def ask(self, name: str, /, **fields: Any) -> Any:
        """Make a call that asks for no prediction."""
        call = self.channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=message_class(f"{name}Request").SerializeToString,
            response_deserializer=message_class(f"{name}Response").FromString,
        )
        return call(message_class(f"{name}Request")(**fields), timeout=LIMIT_SECONDS)

    def begin(self, message: bytes) -> Any:
        """Send a request and return its future."""
        call = self.channel.unary_unary(f"/{SERVICE}/ModelInfer", response_deserializer=Response.FromString)
        return call.future(message, timeout=LIMIT_SECONDS)

    def infer(self, request: Any) -> Any:
        """Return the answer to a request."""
        return self.begin(request.SerializeToString()).result()

    def refusal(self, message: bytes) -> grpc.RpcError:
        """Return the error that answers a message."""
        error = self.begin(message).exception()
        assert isinstance(error, grpc.RpcError)
        return error


def request(texts: Any = TEXTS, **fields: Any) -> Any:
    """Return a request for texts."""
    made = Request(**{"model_name": "tiny", **fields})
    tensor = made.inputs.add(name="texts", datatype="BYTES", shape=[len(texts)])
    tensor.contents.bytes_contents.extend(text if isinstance(text, bytes) else text.encode() for text in texts)
    return made


def raw(parts: bytes, number: int) -> Any:
    made = Request(model_name="tiny", raw_input_contents=[parts])
    made.inputs.add(name="texts", datatype="BYTES", shape=[number])
    return made


@pytest.fixture(scope="module")
def client(unpacked: Path) -> Iterator[Client]:
    with native(unpacked, Limits(queue_tokens=20), has_grpc=True) as server:
        client = Client(server)
        with client.channel:
            yield client


def over_http(client: Client, **parameters: Any) -> Any:
    tensor = {"name": "texts", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
    body = {"id": "17", "inputs": [tensor], "parameters": parameters}
    return client.server.predict("/v2/models/tiny/infer", body)[1]


def in_json(answer: Any) -> Any:
    kinds = {"BYTES": "bytes_contents", "FP64": "fp64_contents", "BOOL": "bool_contents"}
    outputs = [
        {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.shape),
            "data": [
                value.decode() if isinstance(value, bytes) else value
                for value in getattr(output.contents, kinds[output.datatype])
            ],
        }
        for output in answer.outputs
    ]
    return {"model_name": answer.model_name, "model_version": answer.model_version, "id": answer.id, "outputs": outputs}


def test_it_says_what_it_serves(client: Client) -> None:
    told = json.loads(client.server.ask("GET", "/v2/models/tiny").body)
    assert client.ask("ServerLive").live
    assert client.ask("ServerReady").ready
    assert client.ask("ModelReady", name="tiny").ready
    assert client.ask("ModelReady", name="tiny", version=VERSION).ready
    assert (client.ask("ServerMetadata").name, client.ask("ServerMetadata").version) == (told["platform"], VERSION)
    found = client.ask("ModelMetadata", name="tiny")
    assert (found.name, list(found.versions), found.platform) == (told["name"], told["versions"], told["platform"])
    for side in ("inputs", "outputs"):
        tensors = [(each.name, each.datatype, list(each.shape)) for each in getattr(found, side)]
        assert tensors == [tuple(each.values()) for each in told[side]]
    with pytest.raises(grpc.RpcError) as refused:
        client.ask("ModelReady", name="tiny", version="1")
    assert refused.value.code() is NOT_FOUND


def test_whoever_is_told_to_stop_is_not_ready_and_still_answers(client: Client) -> None:
    state = client.server.service.state
    state.is_draining = True
    try:
        assert client.ask("ServerLive").live
        assert not client.ask("ServerReady").ready
        assert not client.ask("ModelReady", name="tiny").ready
        assert len(client.infer(request()).outputs) == 5
    finally:
        state.is_draining = False


def test_it_answers_what_is_answered_over_http(client: Client) -> None:
    assert in_json(client.infer(request(id="17"))) == over_http(client)
    found = in_json(
        client.infer(request(id="17", model_version=VERSION, parameters={"top_k": Parameter(int64_param=1)}))
    )
    assert found == over_http(client, top_k=1)


def test_texts_may_come_in_one_piece(client: Client) -> None:
    content = b"".join(len(text).to_bytes(4, "little") + text.encode() for text in TEXTS)
    assert client.infer(raw(content, len(TEXTS))) == client.infer(request())


def _wrong(**change: Any) -> Any:
    made = request()
    for name, value in change.items():
        if isinstance(value, list):
            getattr(made.inputs[0], name)[:] = value
        else:
            setattr(made.inputs[0], name, value)
    return made


REFUSED = [
    (b"\xff\xff", INVALID, "no inference.ModelInferRequest"),
    (Request(), NOT_FOUND, "Model not found: tiny is"),
    (request(model_name="other"), NOT_FOUND, "Model not found: tiny is"),
    (request(model_version="1"), NOT_FOUND, f"served in version {VERSION}"),
    (Request(model_name="tiny"), INVALID, "one tensor"),
    (_wrong(datatype="FP32"), INVALID, "datatype must be"),
    (_wrong(shape=[7]), INVALID, "does not fit its data"),
    (request([]), INVALID, "is empty"),
    (request(["good", " "]), INVALID, r"data\[1\] is empty"),
    (request(["good", b"\xff"]), INVALID, r"data\[1\] is not valid UTF-8 at byte 0"),
    (request(["good"] * 1001), INVALID, "at most 1000"),
    (request(parameters={"top_k": Parameter(string_param=SECRET)}), INVALID, "top_k"),
    (request(parameters={"top_k": Parameter()}, id="1"), None, ""),
    (raw(b"\x05\x00\x00\x00good", 1), INVALID, "ends in the middle of text 0"),
    (raw(b"\x04\x00\x00\x00good\x01", 1), INVALID, "ends in the middle of text 1"),
    (Request(model_name="tiny", raw_input_contents=[b"", b""]), INVALID, "one entry for each input"),
]


@pytest.mark.parametrize(("sent", "code", "message"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_wrong_is_refused_with_what_to_change(sent: Any, code: Any, message: str, client: Client) -> None:
    content = sent if isinstance(sent, bytes) else sent.SerializeToString()
    if code is None:
        assert client.begin(content).result().id == "1"
        return
    error = client.refusal(content)
    assert error.code() is code
    assert re.search(message, error.details())
    assert SECRET not in error.details()


def test_a_message_that_is_too_large_is_not_taken(client: Client) -> None:
    assert client.refusal(request(["a" * MAX_BODY_BYTES]).SerializeToString()).code() is TOO_MUCH


def test_texts_for_which_the_queue_has_no_room_are_told_to_come_again(client: Client) -> None:
    service = client.server.service
    with busy(client.server) as answers:
        asked = [client.begin(request(["good"]).SerializeToString())]
        wait_for(lambda: service.predictions.under_way == 1, "nobody asks")
        asked.append(client.begin(request(["good"] * 10).SerializeToString()))
        wait_for(lambda: service.batcher.waiting_texts == 10, "nobody waits")
        refused = client.refusal(request(["good"]).SerializeToString())
        assert refused.code() is UNAVAILABLE
        assert dict(refused.trailing_metadata())["grpc-retry-pushback-ms"] == "5000"
        answers.set()
        assert [len(each.result().outputs) for each in asked] == [5, 5]


def test_a_call_that_is_cancelled_is_dropped(client: Client) -> None:
    service = client.server.service
    dropped = service.metrics.dropped
    with busy(client.server) as answers:
        asked = client.begin(request(["good"]).SerializeToString())
        wait_for(lambda: service.predictions.under_way == 1, "nobody asks")
        gone = client.begin(request(["good"] * 10).SerializeToString())
        wait_for(lambda: service.batcher.waiting_texts == 10, "nobody waits")
        gone.cancel()
        wait_for(lambda: service.batcher.waiting_texts == 0, "it still waits")
        answers.set()
        assert asked.result()
    assert service.metrics.dropped == dropped + 1
    assert service.metrics.requests["grpc", 499] >= 1


def test_clients_that_send_no_message_keep_nobody_out(unpacked: Path) -> None:
    with native(unpacked, Limits(queue_requests=2), has_grpc=True) as server, ThreadPoolExecutor(3) as threads:
        client = Client(server)
        over = threading.Event()

        def nothing() -> Iterator[bytes]:
            over.wait(LIMIT_SECONDS)
            yield from ()

        with client.channel:
            call = client.channel.stream_unary(f"/{SERVICE}/ModelInfer")
            idle = [threads.submit(call.with_call, nothing(), timeout=LIMIT_SECONDS) for _ in range(3)]
            # The third has taken the place of the first, and the request that of the second.
            wait_for(lambda: sum(each.done() for each in idle) == 1, "nobody gives way")
            assert client.infer(request()).model_version == VERSION
            wait_for(lambda: sum(each.done() for each in idle) == 2, "nobody gives way")
            over.set()
            codes = [each.exception().code() for each in idle]  # type: ignore[union-attr]
        assert sorted(code.name for code in codes) == ["NOT_FOUND", "UNAVAILABLE", "UNAVAILABLE"]


def test_a_fault_of_its_own_repeats_no_text(unpacked: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fails(rows: Any) -> Any:
        raise RuntimeError(SECRET)

    with native(unpacked, has_grpc=True) as server:
        client = Client(server)
        with client.channel:
            server.service.forward.computes = fails
            refused = [client.refusal(request([SECRET]).SerializeToString())]
            server.service.served.model.read = fails
            refused.append(client.refusal(request([SECRET]).SerializeToString()))
    assert [each.code() for each in refused] == [grpc.StatusCode.INTERNAL] * 2
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text + "".join(each.details() for each in refused)


def test_a_port_that_is_taken_is_said(client: Client) -> None:
    async def take() -> None:
        client.server.service.grpc_server(f"127.0.0.1:{client.server.grpc_port}")

    with pytest.raises(OSError, match=str(client.server.grpc_port)):
        asyncio.run(take())


@pytest.mark.processes
@pytest.mark.long
def test_kserves_own_client_understands_it(client: Client, kserve_python: str) -> None:
    script = Path(__file__).with_name("ask_with_kserve.py")
    done = subprocess.run(
        [kserve_python, str(script), f"127.0.0.1:{client.server.grpc_port}", *TEXTS],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    expected = over_http(client)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"ready": True, "labels": expected["outputs"][0]["data"], "version": VERSION}
