"""The server that the image runs as a predictor: truthful, closed to strangers, and it ends when it is hopeless."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from include.classifier.packaging.archive import build_archive, sha256_of
from include.classifier.packaging.served_package import PackageError, pin
from include.classifier.packaging.server_settings import server_config
from tests.waiting import LIMIT_SECONDS, wait_for

ROOT = Path(__file__).parents[2]
VERSION = "20261121030000"
SERVE = [sys.executable, "-m", "include.classifier.serve"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def package(tiny_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    build_archive(tiny_model, model="tiny", version=VERSION, target=folder / "model-store" / "tiny.mar")
    (folder / "config").mkdir()
    (folder / "config" / "config.properties").write_text(server_config("tiny", VERSION, {}))
    return folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """The server's own folder: a socket's name in it must be shorter than pytest's folders are."""
    with tempfile.TemporaryDirectory(prefix="s-") as name:
        yield Path(name) / "serving"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def types_of(metrics: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", metrics, re.M))


@contextmanager
def serving(package: Path, folder: Path, port: int = 0, metrics_port: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    ports = ["--port", str(port or free_port()), "--metrics-port", str(metrics_port or free_port())]
    with (folder.parent / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*SERVE, str(package), "--host", "127.0.0.1", "--folder", str(folder), "--drain-seconds", "10", *ports],
            env=ENVIRONMENT,
            stdout=log,
            stderr=log,
        )
    family = psutil.Process(process.pid)
    try:
        yield process
    finally:
        for member in [*family.children(recursive=True), family] if family.is_running() else []:
            member.kill()
        process.wait()


def check(folder: Path) -> int:
    return subprocess.run([*SERVE, "--check", "--folder", str(folder)], env=ENVIRONMENT, check=False).returncode


def with_code(archive: Path, target: Path) -> None:
    """Copy an archive whose code does more."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as sink:
        for entry in source.infolist():
            more = b"\nraise SystemExit" if entry.filename.endswith("handler.py") else b""
            sink.writestr(entry, source.read(entry) + more)


def test_nothing_but_the_archive_says_what_is_served_and_how(package: Path, tmp_path: Path) -> None:
    archive = package / "model-store" / "tiny.mar"
    released = sha256_of(archive)
    with_code(archive, package / "model-store" / "other.mar")
    config = package / "config" / "config.properties"
    config.write_text(config.read_text().replace("tiny.mar", "other.mar") + "service_envelope=evil\n")

    assert pin(package, tmp_path / "pinned", released) == "tiny"

    [pinned] = (tmp_path / "pinned" / "model-store").iterdir()
    assert (pinned.name, sha256_of(pinned)) == ("tiny.mar", released)
    expected = server_config("tiny", VERSION, {})
    assert (tmp_path / "pinned" / "config" / "config.properties").read_text() == expected


@pytest.mark.parametrize("sha256", [None, pytest.param("0" * 64, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["nothing", "two", "link", "pipe", "garbage", "another name", "a way out"])
def test_what_is_no_package_is_refused(kind: str, sha256: str | None, package: Path, tmp_path: Path) -> None:
    archive = package / "model-store" / "tiny.mar"
    with_code(archive, other := tmp_path / "other.mar")
    if kind == "two":
        shutil.copy(other, package / "model-store")
    else:
        archive.unlink()
    match kind:
        case "link":
            archive.symlink_to(other)
        case "pipe":
            os.mkfifo(archive)
        case "a way out":
            with zipfile.ZipFile(shutil.copy(other, archive), "a") as entries:
                entries.writestr("../evil.py", "")
        case "garbage":
            archive.write_bytes(b"PK")
        case "another name":
            manifest = {"model": {"modelName": "../x", "modelVersion": VERSION, "configFile": "c"}}
            with zipfile.ZipFile(archive, "w") as entries:
                entries.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
                entries.writestr("c", "{}")
    with pytest.raises(PackageError, match=r"model-store|no archive that this project made"):
        pin(package, tmp_path / "pinned", sha256)


def test_serves_only_the_archive_that_was_released(package: Path, tmp_path: Path) -> None:
    archive = package / "model-store" / "tiny.mar"
    released = sha256_of(archive)
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(PackageError, match=f"SHA-256 {released}.: tiny.mar has SHA-256 .* Somebody changed it"):
        pin(package, tmp_path / "pinned", released)


#: Metric -> its type, as the dashboard and the alert rules of deploy/monitoring rely on them.
RECORDED_METRICS = types_of((Path(__file__).parents[1] / "deploy" / "torchserve_metrics.txt").read_text())


def metrics_of(port: int) -> dict[str, str]:
    """Return what a server tells of itself: metric -> its type."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/metrics")
        return types_of(connection.getresponse().read().decode())


def ask(port: int) -> str:
    """Return the version that answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        body = json.dumps({"instances": ["good food"]})
        connection.request("POST", "/v1/models/tiny:predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200
        return str(json.loads(response.read())["predictions"][0]["version"])


@pytest.mark.long  # tests/local_services/torchserve starts the same server, tests/classifier/native the other one
@pytest.mark.torchserve
def test_is_ready_when_it_answers_and_stops_when_told(package: Path, folder: Path) -> None:
    port, metrics_port, log = free_port(), free_port(), folder.parent / "log.txt"
    folder.mkdir()
    (folder / "m").write_text("left by the container before")
    assert check(folder) == 1
    with serving(package, folder, port, metrics_port) as server:

        def is_ready() -> bool:
            assert server.poll() is None, log.read_text()
            return check(folder) == 0

        wait_for(is_ready, log.read_text)
        assert ask(port) == VERSION
        assert metrics_of(metrics_port).items() >= RECORDED_METRICS.items()

        family = psutil.Process(server.pid).children(recursive=True)
        listening = {
            (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
            for member in family
            for connection in member.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and not connection.laddr.ip.endswith("224.0.0.1")
        }
        assert listening == {("127.0.0.1", port), ("127.0.0.1", metrics_port)}
        assert folder.stat().st_mode & 0o777 == 0o700

        server.send_signal(signal.SIGTERM)
        assert ask(port) == VERSION  # requests that were on their way
        assert server.wait(timeout=LIMIT_SECONDS) == 0
        assert not [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]
    assert "good food" not in log.read_text()
    assert check(folder) == 1


@pytest.mark.long
@pytest.mark.torchserve
def test_a_model_that_cannot_be_loaded_ends_it_with_the_reason(
    package: Path, tiny_model: Path, folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(b"no weights")
    build_archive(broken, model="tiny", version=VERSION, target=package / "model-store" / "tiny.mar")

    with serving(package, folder) as server:
        assert server.wait(timeout=LIMIT_SECONDS) == 1

    log = (folder.parent / "log.txt").read_text()
    assert "The worker of tiny died while it loaded the model" in log
    assert "safetensor" in "\n".join(log.splitlines()[-25:]).lower()
