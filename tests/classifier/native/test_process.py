"""The command that a pod runs: it is ready when it answers, tells no text, and stops without losing a request."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from include.classifier.native.__main__ import check, main
from include.classifier.packaging.archive import build_archive
from include.classifier.serving.predictor import Predictor
from include.contracts.monitoring import captured
from include.contracts.monitoring.capture_environment import SETTINGS_VARIABLE
from include.torchserve import free_ports
from tests.classifier.serving.servers import SETTINGS, VERSION
from tests.waiting import LIMIT_SECONDS, wait_for

ROOT = Path(__file__).parents[3]
NEXT = "20261122030000"
PATH = "/v1/models/tiny:predict"
SECRET = "Zyxwvut"


@pytest.fixture
def package(tiny_model: Path, tmp_path: Path) -> Path:
    target = tmp_path / "package" / "model-store" / "tiny.mar"
    build_archive(tiny_model, model="tiny", version=VERSION, target=target, serving=SETTINGS)
    return tmp_path / "package"


@contextmanager
def serving(
    package: Path, port: int, metrics_port: int, *options: str, grpc_port: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "include.classifier.native", str(package), "--host", "127.0.0.1"]
    command += ["--folder", str(package.parent / "own"), "--port", str(port), "--metrics-port", str(metrics_port)]
    command += ["--grpc-port", str(grpc_port)]
    with (package.parent / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process has ended, even if nobody has buried it yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.processes
def test_is_ready_when_it_answers_takes_another_version_and_stops_when_told(
    package: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = package.parent / "store" / "tiny"
    monkeypatch.setenv(SETTINGS_VARIABLE, json.dumps({"share": 1, "texts": "hash", "store": store.as_uri()}))
    port, metrics_port, grpc_port = free_ports(3)
    log = package.parent / "log.txt"
    assert check(port) == 1
    # It drains until the test has seen it; the second signal ends that.
    with serving(package, port, metrics_port, "--drain-seconds", "600", grpc_port=grpc_port) as server:

        def is_ready() -> bool:
            assert server.poll() is None, log.read_text()
            return check(port) == 0

        wait_for(is_ready, log.read_text, pause=0.5)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as kept:

            def ask() -> tuple[int, str | None, str]:
                kept.request("POST", PATH, json.dumps({"instances": [f"good {SECRET}"]}))
                response = kept.getresponse()
                version = json.loads(response.read())["predictions"][0]["version"]
                return response.status, response.getheader("connection"), version

            assert ask() == (200, None, VERSION)
            listening = {
                (each.laddr.ip.removeprefix("::ffff:"), each.laddr.port)  # gRPC's is one of IPv6
                for each in psutil.Process(server.pid).net_connections("tcp")
                if each.status == psutil.CONN_LISTEN
            }
            assert listening == {("127.0.0.1", each) for each in (port, metrics_port, grpc_port)}
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics") as page:
                assert re.search(rf'model_server_info{{model="tiny",version="{VERSION}"}} 1\n', page.read().decode())

            archive = package / "model-store" / "tiny.mar"
            build_archive(tiny_model, model="tiny", version=NEXT, target=archive, serving=SETTINGS)
            server.send_signal(signal.SIGHUP)
            wait_for(lambda: ask()[2] == NEXT, log.read_text, pause=0.1)

            server.send_signal(signal.SIGTERM)
            wait_for(lambda: check(port) == 1, "it is still ready")
            assert ask() == (200, "close", NEXT)  # requests that were on their way
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=LIMIT_SECONDS) == 0
    assert f"Serving tiny {NEXT} in the place of {VERSION}." in log.read_text()
    assert SECRET not in log.read_text()
    assert (package.parent / "own").stat().st_mode & 0o777 == 0o700
    # What was answered just before the end is captured, too, and nothing is left half written.
    found = list(captured.read(store))
    assert [each.version for each in found].count(NEXT) >= 2
    assert {each.version for each in found} == {VERSION, NEXT}
    assert not list(store.glob("captured/*/.*"))


@pytest.mark.processes
@pytest.mark.long
def test_workers_answer_alike_and_when_one_is_killed_the_others_answer_until_it_ends(
    package: Path, tiny_model: Path
) -> None:
    port, metrics_port = free_ports(2)
    log = package.parent / "log.txt"
    texts = ["good food", "never again", "the place was very slow", "bad"]
    expected = [each.label for each in Predictor.load(tiny_model, device="cpu").predict(texts)]
    # So little goes through the model at once that each text is a batch.
    options = ["--workers", "2", "--batch-tokens", "1", "--drain-seconds", "600"]
    with serving(package, port, metrics_port, *options) as server:

        def is_ready() -> bool:
            assert server.poll() is None, log.read_text()
            return check(port) == 0

        def labels() -> list[str]:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request("POST", PATH, json.dumps({"instances": texts}))
                return [row["label"] for row in json.loads(connection.getresponse().read())["predictions"]]

        wait_for(is_ready, log.read_text, pause=0.5)
        workers = psutil.Process(server.pid).children()
        assert len(workers) == 2
        assert labels() == expected
        workers[0].kill()
        wait_for(lambda: has_ended(workers[0]), "it lives on")
        assert labels() == expected
        wait_for(lambda: check(port) == 1, "it is still ready")
        assert labels() == expected
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=LIMIT_SECONDS) == 1
        assert has_ended(workers[1])
    assert re.search("A worker ended while it .*; 1 are left", log.read_text())


@pytest.mark.processes
@pytest.mark.long
def test_no_worker_outlives_the_server(package: Path) -> None:
    port, metrics_port = free_ports(2)
    with serving(package, port, metrics_port, "--workers", "2") as server:
        wait_for(lambda: server.poll() is not None or check(port) == 0, "it is not ready", pause=0.5)
        workers = psutil.Process(server.pid).children()
        server.kill()
        assert len(workers) == 2
        wait_for(lambda: all(map(has_ended, workers)), "one lives on")


def test_what_cannot_be_served_ends_it_with_the_reason(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["--folder", str(tmp_path / "own")]
    assert main([str(tmp_path / "nothing"), *own]) == 1
    assert "holds no archive" in capsys.readouterr().err
    monkeypatch.setenv("ARCHIVE_SHA256", "0" * 64)
    assert main([str(package), *own]) == 1
    assert "Somebody changed it" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_ends_it_with_the_reason(
    package: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(b"no weights")
    build_archive(broken, model="tiny", version=VERSION, target=package / "model-store" / "tiny.mar")

    assert main([str(package), "--folder", str(tmp_path / "own")]) == 1
    assert "safetensor" in capsys.readouterr().err.splitlines()[-1].lower()
