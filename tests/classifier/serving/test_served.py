"""What clients get from a real TorchServe, and from the server of ours, that serve one and the same package."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from include.classifier.packaging.bfloat16 import write_bfloat16
from include.classifier.serving.predictor import Predictor
from tests.classifier.serving.servers import CLIENTS, VERSION, Server, served

TORCHSERVE = pytest.param("torchserve", marks=pytest.mark.torchserve)
KSERVE = "/v1/models/tiny:predict"
RAW = f"/predictions/tiny/{VERSION}"

#: Stands in the texts of all requests, and must stand in no log.
SECRET = "Zyxwvut"


def only(*servers: Any) -> pytest.MarkDecorator:
    """Run a test with the servers that it is about, and leave the other out."""
    return pytest.mark.parametrize("server", servers, indirect=True)


@pytest.fixture(scope="module", params=[TORCHSERVE, "native"])
def server(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with served(request.param, tiny_model, tmp_path_factory.mktemp("package")) as server:
        yield server


@pytest.mark.long
@pytest.mark.parametrize("kind", [TORCHSERVE, "native"])
def test_large_answers_of_joined_requests_all_arrive(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    """Together they are many times what TorchServe takes from a worker unless it is told otherwise."""
    model = shutil.copytree(tiny_model, tmp_path / "model")
    labels = [f"{number} {'long ' * 6000}" for number in range(3)]
    for name, key, value in (
        ("classifier.json", "labels", labels),
        ("config.json", "id2label", {str(number): f"LABEL_{number}" for number in range(3)}),
    ):
        document = json.loads((model / name).read_text(encoding="utf-8"))
        (model / name).write_text(json.dumps(document | {key: value}), encoding="utf-8")
    with served(kind, model, tmp_path / "package") as server:

        def status_of(rows: int) -> int:
            return server.predict(KSERVE, {"instances": ["good"] * rows})[0]

        with ThreadPoolExecutor(CLIENTS) as clients:
            assert [*clients.map(status_of, [45] * CLIENTS)] == [200] * CLIENTS
        status, refusal = server.predict(KSERVE, {"instances": ["good"] * 100})
        assert (status, refusal["code"]) == (413, 413)
        assert "send at most" in refusal["message"]
        assert status_of(1) == 200


@pytest.mark.long
@pytest.mark.parametrize("kind", [TORCHSERVE, "native"])
def test_a_package_for_another_processor_is_served_in_float32_which_answers_say(
    kind: str, tiny_model: Path, tmp_path: Path
) -> None:
    texts = ["good food", "never again", "the place was very slow"]
    model = write_bfloat16(tiny_model, tmp_path / "model", needs=["made_up"])
    with served(kind, model, tmp_path / "package") as server:
        _, answer = server.predict(KSERVE, {"instances": texts})
        column = {"name": "texts", "datatype": "BYTES", "shape": [3], "data": texts}
        _, tensors = server.predict("/v2/models/tiny/infer", {"inputs": [column]})

    as_trained = Predictor.load(tiny_model, device="cpu").predict(texts)
    for row, prediction in zip(answer["predictions"], as_trained, strict=True):
        assert row["computed_in"] == "torch-float32"
        assert row["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-4)
    assert tensors["parameters"] == {"computed_in": "torch-float32"}


@pytest.mark.parametrize("path", [KSERVE, "/predictions/tiny", RAW])
def test_served_answers_equal_those_in_process(path: str, server: Server, tiny_model: Path) -> None:
    texts = ["good food", f"never {SECRET} again", r"the \"place\" was\nvery slow", "bad " * 30]

    status, answer = server.predict(path, {"instances": [texts[0], *({"data": text} for text in texts[1:])]})

    assert status == 200
    rows = answer["predictions"]
    for row, prediction in zip(rows, Predictor.load(tiny_model, device="cpu").predict(texts), strict=True):
        assert row["label"] == prediction.label
        assert row["score"] == pytest.approx(prediction.score, abs=1e-4)
        assert row["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-4)
        assert row["version"] == VERSION
        assert row.get("truncated", False) == prediction.truncated
    assert [row.get("truncated") for row in rows] == [None, None, None, True]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"very good food", "text/plain"),
        (b"very good food", "application/octet-stream"),
        (b'{"data": "very good food"}', "application/json"),
        (b'{"text": "very good food"}', "application/json"),
        (b"data=very+good+food", "application/x-www-form-urlencoded"),
        (b'{"instances": ["very good food"]}', "application/octet-stream"),
    ],
)
def test_raw_requests_are_answered_alike(body: bytes, content_type: str, server: Server) -> None:
    _, expected = server.predict(KSERVE, {"instances": ["very good food"]})

    assert server.predict(RAW, body, content_type=content_type) == (200, expected)


def test_the_open_inference_protocol_is_spoken_at_its_own_path(server: Server) -> None:
    texts = ["very good food", "never again"]
    _, expected = server.predict(KSERVE, {"instances": texts})
    column = {"name": "texts", "datatype": "BYTES", "shape": [2], "data": texts}

    status, answer = server.predict("/v2/models/tiny/infer", {"id": "17", "inputs": [column]})

    assert status == 200
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["label"] == [row["label"] for row in expected["predictions"]]
    assert outputs["score"] == [row["score"] for row in expected["predictions"]]
    assert {row["version"] for row in expected["predictions"]} == {answer["model_version"]}
    assert (answer["model_name"], answer["id"]) == ("tiny", "17")
    status, answer = server.predict("/v2/models/tiny/infer", {"inputs": [column | {"data": [SECRET, 5]}]})
    assert status == 400
    assert "inputs[0].data[1] is a number" in answer["message"]
    assert SECRET not in json.dumps(answer)


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b'{"instances": ["Zyxwvut', "application/json", "not JSON"),
        (b'{"instances": ["Zyxwvut \xff"]}', "application/json", "not valid UTF-8 at byte 24"),
        (b"Zyxwvut \xff", "text/plain", "not valid UTF-8 at byte 8"),
        (b"", "application/json", "not JSON"),
        (b'{"Zyxwvut": 1}', "application/json", 'no "instances"'),
        (b'{"instances": []}', "application/json", '"instances" is empty'),
        (b'{"instances": ["Zyxwvut", 5]}', "application/json", "instances[1] is a number"),
        (b'{"instances": ["Zyxwvut", " "]}', "application/json", "instances[1] is empty"),
        (b'{"instances": ["Zyxwvut", "\\ud800"]}', "application/json", "instances[1] has half a surrogate pair"),
        (b'{"instances": ["Zyxwvut"]}', "application/x-www-form-urlencoded", "as application/json"),
        (json.dumps({"instances": [SECRET] * 1001}).encode(), "application/json", "at most 1000"),
    ],
)
@pytest.mark.parametrize("path", [KSERVE, RAW])
def test_bad_input_is_a_400_that_says_what_to_change(
    path: str, body: bytes, content_type: str, message: str, server: Server
) -> None:
    status, answer = server.predict(path, body, content_type=content_type)

    assert status == 400
    assert message in answer["message"]
    assert SECRET not in json.dumps(answer)


def test_a_thousand_rows_are_answered(server: Server) -> None:
    status, answer = server.predict(KSERVE, {"instances": ["good food"] * 999 + ["never again"]})

    assert status == 200
    assert len(answer["predictions"]) == 1000
    assert answer["predictions"][-1]["probabilities"] != answer["predictions"][0]["probabilities"]


def test_huge_texts_keep_nobody_else_waiting(server: Server) -> None:
    """Six at once, each almost as large as TorchServe takes; they once cost the worker its life."""
    bodies = [{"instances": ["a b " * 1_500_000]}] * 6 + [{"instances": ["good food"]}]

    with ThreadPoolExecutor(len(bodies)) as clients:
        answers = [*clients.map(lambda body: server.predict(KSERVE, body), bodies)]

    assert [status for status, _ in answers] == [200] * 7
    assert [answer["predictions"][0].get("truncated", False) for _, answer in answers] == [True] * 6 + [False]


def test_idle_and_slow_clients_keep_nobody_else_waiting(server: Server) -> None:
    """More of them than the server has threads: idle, amid their headers, and amid a body that never comes."""
    beginnings = [b"", b"POST ", b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{" % KSERVE.encode()]
    with ExitStack() as stack:
        for index in range(300):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            client.sendall(beginnings[index % len(beginnings)])

        answers = [server.predict(KSERVE, {"instances": ["good food"]}) for _ in range(5)]

    assert [status for status, _ in answers] == [200] * 5


def test_requests_are_joined_and_a_bad_one_among_them_is_refused_alone(server: Server) -> None:
    bodies: list[Any] = [{"instances": [f"good food {'very ' * index}"]} for index in range(CLIENTS)]
    alone = [server.predict(KSERVE, body)[1] for body in bodies]
    bodies[3] = {"instances": ["good", None]}
    passes_before = server.passes()
    start = threading.Barrier(CLIENTS)

    def send(body: Any) -> tuple[int, Any]:
        start.wait()
        return server.predict(KSERVE, body)

    with server.joining(), ThreadPoolExecutor(CLIENTS) as clients:
        together = list(clients.map(send, bodies))

    assert server.passes() - passes_before < CLIENTS, "the server joined nothing, so this showed nothing"
    assert together[3][0] == 400
    assert "instances[1] is null" in together[3][1]["message"]
    for index in set(range(CLIENTS)) - {3}:
        status, answer = together[index]
        assert status == 200
        [row], [expected] = answer["predictions"], alone[index]["predictions"]
        assert row["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)


@only(TORCHSERVE)
def test_the_server_has_no_api_that_other_users_could_load_code_with(server: Server) -> None:
    assert server.folder.stat().st_mode & 0o777 == 0o700
    status, _ = server.predict("/models?url=http://127.0.0.1:1/other.mar", b"")
    assert status in (404, 405)


@only(TORCHSERVE)  # that of the other: native/test_process.py
def test_no_log_holds_a_text(server: Server) -> None:
    """Sends its own requests, so that it shows the same when it runs alone."""
    server.predict(KSERVE, {"instances": [f"good {SECRET}"]})
    server.predict(KSERVE, {"instances": [f"good {SECRET}", 5]})
    server.predict(KSERVE, f'{{"instances": ["{SECRET}'.encode())
    server.predict(RAW, f"{SECRET} \xff".encode("latin-1"), content_type="text/plain")

    files = {path.name: path.read_bytes() for path in server.folder.rglob("*") if path.suffix in (".log", ".txt")}

    assert b"Backend received inference" in files["model_log.log"]
    assert b"POST /v1/models/tiny:predict" in files["access_log.log"]
    assert [name for name, content in files.items() if SECRET.encode() in content] == []


JSON = {"Content-Type": "application/json"}
ONE = b'{"instances": ["good food"]}'
TENSOR = {"name": "texts", "datatype": "BYTES", "shape": [1], "data": ["good food"]}
V2 = json.dumps({"id": "17", "inputs": [TENSOR]}).encode()
PART = b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\ngood food\r\n--x--\r\n'
INFER = "/v2/models/tiny/infer"

OF_V1, OF_V2, REFUSAL = {"predictions"}, {"id", "model_name", "model_version", "outputs"}, {"code", "type", "message"}
HEADERS = {"content-type", "x-request-id", "pragma", "cache-control", "expires", "content-length"}

#: What is sent, and the status and the keys of its answer, at both servers alike.
ALIKE: list[tuple[str, str, bytes | None, dict[str, str], int, set[str]]] = [
    ("POST", KSERVE, ONE, JSON, 200, OF_V1),
    ("POST", KSERVE, ONE, {"Content-Type": "application/json; charset=utf-8"}, 200, OF_V1),
    ("POST", KSERVE, ONE, {}, 200, OF_V1),
    ("POST", KSERVE, ONE, {"Content-Type": "application/xml"}, 200, OF_V1),
    ("POST", KSERVE, V2, JSON, 200, OF_V2),
    ("POST", INFER, V2, JSON, 200, OF_V2),
    ("POST", INFER, ONE, JSON, 200, OF_V1),
    ("POST", RAW, ONE, JSON, 200, OF_V1),
    ("POST", "/predictions/tiny", b'"good food"', JSON, 200, OF_V1),
    ("POST", KSERVE, b'["good food"]', JSON, 400, REFUSAL),
    ("POST", KSERVE, "très".encode("latin-1"), {"Content-Type": "text/plain; charset=iso-8859-1"}, 400, REFUSAL),
    ("POST", KSERVE, b'{"instances": ["good"], "top_k": 0}', JSON, 400, REFUSAL),
    ("POST", "/v1/models/other:predict", ONE, JSON, 404, REFUSAL),
    ("POST", "/v2/models/other/infer", V2, JSON, 404, REFUSAL),
    ("POST", "/predictions/tiny/1", ONE, JSON, 404, REFUSAL),
    ("GET", "/nothing", None, {}, 404, REFUSAL),
    ("GET", "/models", None, {}, 404, REFUSAL),
    ("POST", "/models?url=http://127.0.0.1:1/other.mar", b"", {}, 404, REFUSAL),
    ("GET", "/ping", None, {}, 200, {"status"}),
]

#: The same where they differ, with TorchServe's status and ours; docs/native-runtime.md lists them.
DIFFERENT: list[tuple[str, str, bytes | None, dict[str, str], int, int]] = [
    ("POST", KSERVE, PART, {"Content-Type": "multipart/form-data; boundary=x"}, 200, 415),
    ("POST", KSERVE, ONE, {"Content-Type": "image/png"}, 200, 415),
    ("POST", KSERVE, ONE, {**JSON, "Content-Encoding": "gzip"}, 200, 415),
    ("PUT", KSERVE, ONE, JSON, 200, 405),
    ("GET", KSERVE, None, {}, 400, 405),
    ("OPTIONS", KSERVE, None, {}, 200, 405),
    ("POST", "/v1/models/tiny:explain", ONE, JSON, 200, 404),
    ("POST", f"/v2/models/tiny/versions/{VERSION}/infer", V2, JSON, 404, 200),
    *(
        ("GET", path, None, {}, 404, 200)
        for path in ("/v1/models", "/v1/models/tiny", "/v2", "/v2/models/tiny", "/v2/models/tiny/ready")
    ),
    *(("GET", path, None, {}, 404, 200) for path in ("/v2/health/live", "/v2/health/ready", "/openapi.json", "/docs")),
    ("GET", "/api-description", None, {}, 200, 404),
    ("GET", "/", None, {}, 405, 404),
    ("POST", KSERVE, b'{"instances": ["' + b"a b " * 1_700_000 + b'"]}', JSON, 413, 413),
]


def _ids(table: list[Any]) -> list[str]:
    return [f"{number} {method} {path}" for number, (method, path, *_) in enumerate(table)]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "keys"), ALIKE, ids=_ids(ALIKE))
def test_both_servers_answer_alike(
    method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, keys: set[str], server: Server
) -> None:
    answer = server.ask(method, path, body, headers)

    assert (answer.status, set(json.loads(answer.body))) == (status, keys)
    assert answer.headers.keys() - {"connection"} == HEADERS
    assert {answer.headers[name] for name in ("content-type", "pragma", "expires")} == {
        "application/json",
        "no-cache",
        "Thu, 01 Jan 1970 00:00:00 UTC",
    }


@pytest.mark.parametrize(("method", "path", "body", "headers", "torchserve", "native"), DIFFERENT, ids=_ids(DIFFERENT))
def test_both_servers_differ_only_where_it_is_written_down(
    method: str, path: str, body: bytes | None, headers: dict[str, str], torchserve: int, native: int, server: Server
) -> None:
    answer = server.ask(method, path, body, headers)

    assert answer.status == {"torchserve": torchserve, "native": native}[server.kind]
    if server.kind == "native" and answer.status >= 400:
        assert json.loads(answer.body).keys() == REFUSAL
        assert answer.headers.keys() - {"allow", "connection"} == HEADERS
