"""What writes captured requests, in a thread of the tests: its own code, without a process for each test."""

from __future__ import annotations

import socket
import subprocess
import threading

import pytest

from include.capture import feed, writing
from include.capture.writer import Writer


class ThreadInPlace:
    """A thread where a server has a process.

    :param connection: its end; closed when it has ended.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> int:
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired("thread", timeout or 0)
        return 0

    def kill(self) -> None:
        with self._connection:
            self._connection.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with self._connection:
            writing.run(self._connection)


def start() -> Writer:
    """Start one."""
    ours, theirs = socket.socketpair()
    return Writer(ThreadInPlace(theirs), ours)


def write_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every feed that is made from now on have a thread in the place of a process."""
    monkeypatch.setattr(feed, "start_writer", start)
