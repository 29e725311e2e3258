"""What the server does at its limits: too much, too slow, gone, told to stop, wrong itself."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from include.classifier.native.bodies import MAX_BODY_BYTES
from include.classifier.native.model import ServedModel
from include.classifier.native.server import Limits
from include.classifier.packaging.archive import PACKAGE
from include.classifier.packaging.served_package import PackageError
from tests.classifier.native.holding import busy
from tests.classifier.serving.servers import native
from tests.waiting import wait_for

PATH = "/v1/models/tiny:predict"
ONE = {"instances": ["good food"]}
#: Stands in texts, and must stand in no answer but theirs, and in no log.
SECRET = "Zyxwvut"


def send_head(server: Any, head: str, body: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize("limits", [Limits(queue_requests=2), Limits(queue_bytes=3 * len(json.dumps(ONE)) - 1)])
def test_more_requests_than_it_takes_are_told_to_come_again(limits: Limits, unpacked: Path) -> None:
    with native(unpacked, limits) as server, ThreadPoolExecutor(2) as clients:
        with busy(server) as answers:
            asked = [clients.submit(server.predict, PATH, ONE) for _ in range(2)]
            wait_for(lambda: server.service.predictions.under_way == 2, "nobody asks")
            refused = server.ask("POST", PATH, json.dumps(ONE).encode())
            assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            assert json.loads(refused.body)["type"] == "ServiceUnavailableException"
            answers.set()
            assert [each.result()[0] for each in asked] == [200, 200]
        assert server.predict(PATH, ONE)[0] == 200


def test_texts_for_which_the_queue_has_no_room_are_told_to_come_again(unpacked: Path) -> None:
    with native(unpacked, Limits(queue_tokens=20)) as server, ThreadPoolExecutor(2) as clients, busy(server) as answers:
        asked = [clients.submit(server.predict, PATH, ONE)]
        wait_for(lambda: server.service.predictions.under_way == 1, "nobody asks")
        asked.append(clients.submit(server.predict, PATH, {"instances": ["good"] * 10}))
        wait_for(lambda: server.service.batcher.waiting_texts == 10, "nobody waits")
        refused = server.ask("POST", PATH, json.dumps(ONE).encode())
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        answers.set()
        assert [each.result()[0] for each in asked] == [200, 200]


def test_a_request_whose_client_hangs_up_is_dropped(server: Any) -> None:
    with busy(server) as answers, ThreadPoolExecutor(1) as clients:
        asked = clients.submit(server.predict, PATH, ONE)
        wait_for(lambda: server.service.predictions.under_way == 1, "nobody asks")
        body = json.dumps({"instances": ["good"] * 50}).encode()
        connection = send_head(server, f"Content-Type: application/json\r\nContent-Length: {len(body)}", body)
        wait_for(lambda: server.service.batcher.waiting_texts == 50, "nobody waits")
        connection.close()
        wait_for(lambda: server.service.batcher.waiting_texts == 0, "it still waits")
        answers.set()
        assert asked.result()[0] == 200
    assert server.service.metrics.dropped == 1
    assert server.service.metrics.requests["v1", 499] == 1
    assert server.service.predictions.under_way == 0


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_that_is_too_large_is_not_kept(is_announced: bool, server: Any) -> None:
    size = MAX_BODY_BYTES + 1
    if is_announced:
        head, body = f"Content-Length: {size}", b"a" * size
    else:
        head, body = "Transfer-Encoding: chunked", f"{size:x}\r\n".encode() + b"a" * size + b"\r\n0\r\n\r\n"
    with send_head(server, head, body) as connection:
        answer = connection.makefile("rb")
        assert b" 413 " in answer.readline()
    assert server.service.predictions.under_way == 0


def test_whoever_is_told_to_stop_is_not_ready_and_still_answers(server: Any) -> None:
    assert server.ask("GET", "/v2/health/ready").status == 200
    server.service.state.is_draining = True
    for path in ("/v2/health/ready", "/v2/models/tiny/ready", "/v1/models/tiny"):
        answer = server.ask("GET", path)
        assert (answer.status, json.loads(answer.body)["ready"]) == (503, False)
    assert server.ask("GET", "/v2/health/live").status == 200
    answer = server.ask("POST", PATH, json.dumps(ONE).encode())
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_a_fault_of_its_own_is_a_500_that_repeats_no_text(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fails(rows: Any) -> Any:
        raise RuntimeError(SECRET)

    server.service.forward.computes = fails
    status, refusal = server.predict(PATH, {"instances": [SECRET]})
    assert (status, refusal["type"]) == (500, "PredictionException")
    server.service.served.model.read = fails
    answer = server.ask("POST", PATH, json.dumps({"instances": [SECRET]}).encode())
    assert (answer.status, json.loads(answer.body)["type"]) == (500, "InternalServerException")
    wait_for(lambda: "The server failed" in caplog.text, "it is not logged")  # which is done after the answer
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text + str(refusal) + answer.body.decode()


def test_the_numbers_are_told_in_the_form_of_prometheus(server: Any) -> None:
    server.predict(PATH, {"instances": ["good food", "bad"]})
    server.predict("/v2/models/tiny/infer", b"{")
    lines = server.service.metrics.text().splitlines()
    assert 'model_server_requests_total{route="v1",code="200"} 1' in lines
    assert 'model_server_requests_total{route="v2",code="400"} 1' in lines
    assert 'model_server_batch_texts_bucket{le="2"} 1' in lines
    assert "model_server_requests_under_way 0" in lines
    described = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert all(any(line.startswith(name) for name in described) for line in lines if not line.startswith("#"))


def test_it_describes_every_path_that_it_has(server: Any) -> None:
    document = json.loads(server.ask("GET", "/openapi.json").body)
    page = server.ask("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path, methods in document["paths"].items():
        assert path in page.body.decode()
        for method in methods:
            assert server.ask(method.upper(), path, b"" if method == "post" else None).status in (200, 400)


def test_an_archive_that_was_packed_before_is_refused(unpacked: Path, tmp_path: Path) -> None:
    old = shutil.copytree(unpacked, tmp_path / "old")
    predictor = old / PACKAGE / "predictor.py"
    predictor.write_text(predictor.read_text().replace("def tokenise", "def read_tokens"))
    before = set(sys.modules)
    with pytest.raises(PackageError, match=r"has no Predictor.tokenise: .* Serve it with TorchServe"):
        ServedModel(old)
    assert not [name for name in set(sys.modules) - before if name.startswith(PACKAGE)]
