"""Starts the native server on a package, for as long as a ``with`` block lasts.

As a program, because that is what serves later, and because it stands above packaging: it opens packages.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from include.classifier.packaging.server import post
from include.contracts.monitoring.capture_environment import SETTINGS_VARIABLE
from include.torchserve import free_ports, last_lines

_POLL_SECONDS = 0.05


class NativeServerError(RuntimeError):
    """The server did not get ready; the message ends with the last lines of its log."""


class NativeServer:
    """A running server with one model; made by :func:`native_server`."""

    called = "The native server"

    def __init__(self, process: subprocess.Popen[bytes], log: Path, *, port: int) -> None:
        self.port = port
        self._process = process
        self._log = log
        self._started = time.monotonic()

    def wait_until_ready(self, model: str, *, timeout_seconds: float = 300) -> float:
        """Return how many seconds after its start the server could answer.

        :raises NativeServerError: as soon as it ends, or when the time is over.
        """
        while (seconds := time.monotonic() - self._started) < timeout_seconds:
            if self._process.poll() is not None:
                raise NativeServerError(
                    f"The native server ended with code {self._process.returncode}.\n{self.log_tail()}"
                )
            if self._is_ready(model):
                return seconds
            time.sleep(_POLL_SECONDS)
        raise NativeServerError(f"{model} was not ready after {timeout_seconds:g} s.\n{self.log_tail()}")

    def predict(self, path: str, body: Any) -> tuple[int, Any]:
        """Post JSON and return status and parsed answer."""
        return post(self.port, path, body)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        return last_lines(self._log, lines=lines)

    def _is_ready(self, model: str) -> bool:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            try:
                connection.request("GET", f"/v2/models/{model}/ready")
                return connection.getresponse().status == http.client.OK
            except (OSError, http.client.HTTPException):  # It does not listen yet.
                return False


@contextlib.contextmanager
def native_server(package: Path) -> Iterator[NativeServer]:
    """Start the native server on a package, without waiting for it, and end it when the block is left.

    :param package: folder with ``model-store/``.
    """
    with tempfile.TemporaryDirectory(prefix="native-", ignore_cleanup_errors=True) as name:
        folder = Path(name)  # Mode 0700.
        port, metrics_port = free_ports(2)
        command = [sys.executable, "-m", "include.classifier.native", str(package), "--folder", str(folder / "own")]
        command += ["--host", "127.0.0.1", "--port", str(port), "--metrics-port", str(metrics_port)]
        command += ["--grpc-port", "0", "--drain-seconds", "0"]
        root = str(Path(__file__).parents[3])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
        for name in ("ARCHIVE_SHA256", SETTINGS_VARIABLE):  # what a trial is asked is no request of a user
            environment.pop(name, None)
        log = folder / "output.txt"
        with log.open("wb") as output:
            # It shares this process's group on purpose: whoever cancels a run by its group ends it as well.
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield NativeServer(process, log, port=port)
        finally:
            process.kill()
            process.wait()
