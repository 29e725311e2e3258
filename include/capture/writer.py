"""The process that writes captured requests, as its server sees it: started, fed, heard, and ended with it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

#: Adds the folder of ``include`` to what it imports from, behind Python's own library.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from include.capture.writing import main; main()"
_ROOT = Path(__file__).parents[2]

#: All that it gets of the server's environment: neither its secrets nor the marks by which servers are found and ended.
_VARIABLES = ("CAPTURE_KEY", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "PATH")

_READ_BYTES = 1 << 16
_KILL_SECONDS = 5.0


class Running(Protocol):
    """What a started process is asked, as :class:`subprocess.Popen` answers it."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when it has ended."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class WriterGoneError(Exception):
    """The process is not there any more; what it was fed and has not accounted for may be lost.

    :param code: with which it ended, negative: the signal; ``None`` where it did not.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(f"it ended with {code}")
        self.code = code


class Writer:
    """A process that was started.

    :param connection: to it.
    """

    def __init__(self, running: Running, connection: socket.socket) -> None:
        self._running = running
        self._connection = connection
        self._heard = b""
        self._is_broken = False
        #: Channels that were opened in it.
        self.opened: set[int] = set()

    def feed(self, frames: bytes) -> None:
        """Let it have frames; waits for as long as it takes to take them. When it is gone, :meth:`hear` says so."""
        try:
            self._connection.sendall(frames)
        except OSError:
            self._is_broken = True

    def hear(self) -> Iterator[dict[str, Any]]:
        """Yield what it has told meanwhile; see :class:`include.capture.writing.Report`.

        :raises WriterGoneError: after that, when it is gone.
        """
        try:
            while data := self._connection.recv(_READ_BYTES, socket.MSG_DONTWAIT):
                yield from self._reports(data)
        except BlockingIOError:
            if not self._is_broken:
                return
        except OSError:
            pass
        raise WriterGoneError(self._bury())

    def end(self, timeout_seconds: float) -> Iterator[dict[str, Any]]:
        """Feed it nothing more and yield what it tells until it has written everything; for at most a time.

        One that is not ready by then is let be: it ends by itself when it is.
        """
        try:
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(timeout_seconds)
            while data := self._connection.recv(_READ_BYTES):
                yield from self._reports(data)
            self._running.wait(timeout_seconds)
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            self._connection.close()

    def _reports(self, data: bytes) -> Iterator[dict[str, Any]]:
        *lines, self._heard = (self._heard + data).split(b"\n")
        yield from map(json.loads, lines)

    def _bury(self) -> int | None:
        self._connection.close()
        try:
            self._running.kill()
            return self._running.wait(_KILL_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return None


def start_writer() -> Writer:
    """Start a process that writes.

    :raises OSError: when none can be started.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, str(_ROOT), str(os.getpid())],
                env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # whatever an error says, it may say it of a text
                start_new_session=True,  # a terminal ends its server, and that ends it
            )
        except BaseException:
            ours.close()
            raise
    return Writer(process, ours)
