"""The process that writes captured requests: what of them may be kept is decided here, and nothing else is written.

A server starts it (:mod:`include.capture.writer`) and feeds it; beside the server it takes none of its interpreter's
time. It imports nothing but Python's own library and the modules of this project that do the same, so that it is there
in a moment and small. When its server is gone, however that ended, it finishes its files and ends.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from include.capture.day_files import DayFiles
from include.capture.exchanges import Exchange
from include.capture.frames import Frame, Frames
from include.capture.redaction import Redaction
from include.capture.switch import Switch
from include.contracts.monitoring.keys import get_key
from include.contracts.monitoring.layout import CAPTURED

_READ_BYTES = 1 << 18
#: Between two looks at what is due, and at whether the server still is there.
_IDLE_SECONDS = 1.0
#: After a failure to write, in which what comes is counted as failed and nothing is tried.
_RETRY_SECONDS = 1.0
#: How far it stands back where others want the processor: it still gets its turns.
_NICENESS = 10


@dataclass(slots=True)
class Report:
    """What became of requests of a channel since the last one.

    :param problem: the last thing that went wrong, with nothing of a request; empty: nothing.
    """

    channel: int
    written: int = 0
    failed: int = 0
    forgotten: int = 0
    deleted_files: int = 0
    problem: str = ""


class Channel:
    """Writes the requests of one model with the same settings.

    :param settings: ``store``, ``model``, ``producer``, ``texts``, ``max_megabytes``, ``file_bytes``, ``file_seconds``.
    """

    def __init__(self, number: int, settings: dict[str, Any]) -> None:
        self.report = Report(number)
        self._number = number
        self._settings = settings
        self._store = Path(settings["store"])
        self._switch = Switch(self._store)
        self._redaction: Redaction | None = None
        self._files: DayFiles | None = None
        self._pause_until = 0.0

    def write(self, exchange: Exchange) -> None:
        """Write a request, or count why not; never raises."""
        if self._switch.look():
            self.report.forgotten += 1
            return
        if time.monotonic() < self._pause_until:
            self.report.failed += 1
            return
        try:
            redaction, files = self._begun()
            files.write(redaction.line(exchange), now=exchange.at)
            self.report.written += 1
        except Exception as error:  # whatever it is: the next one may be written
            self.report.failed += 1
            self._note(error)
            if isinstance(error, OSError):
                self._pause_until = time.monotonic() + _RETRY_SECONDS

    def look(self) -> None:
        """Close the file that is old enough, or all when capturing was switched off; never raises."""
        try:
            if self._switch.look():
                self._finish()
            elif self._files:
                self._files.close_if_due(now=time.time())
        except OSError as error:
            self._note(error)

    def close(self) -> None:
        """Finish the file; never raises."""
        try:
            self._finish()
        except OSError as error:
            self._note(error)

    def take_report(self) -> Report | None:
        """Return what has become of requests since this was asked last; ``None``: nothing."""
        found, self.report = self.report, Report(self._number)
        if self._files:
            found.deleted_files, self._files.deleted = self._files.deleted, 0
        return found if found != self.report else None

    def _finish(self) -> None:
        if self._files:
            self._files.close()

    def _begun(self) -> tuple[Redaction, DayFiles]:
        if self._redaction is None or self._files is None:
            settings = self._settings
            key = b"" if settings["texts"] == "keep" else get_key(self._store, settings["model"])
            files = DayFiles(
                self._store / CAPTURED,
                _name(settings["producer"]),
                most_bytes=settings["max_megabytes"] * 1_000_000,
                file_bytes=settings["file_bytes"],
                file_seconds=settings["file_seconds"],
            )
            files.recover()
            self._redaction, self._files = Redaction(settings["model"], settings["texts"], key), files
        return self._redaction, self._files

    def _note(self, error: Exception) -> None:
        """Remember what went wrong; of what is wrong with a request only the sort of error."""
        self.report.problem = str(error) if isinstance(error, OSError) else type(error).__name__


class Writing:
    """Writes the requests of all models of one server."""

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}

    def take(self, frame: Frame) -> None:
        """Do what a frame says."""
        if frame.settings is not None:
            self._channels[frame.channel] = Channel(frame.channel, frame.settings)
        elif frame.exchange is not None:
            self._channels[frame.channel].write(frame.exchange)
        else:
            self._channels[frame.channel].close()

    def look(self) -> None:
        """See to files that are due."""
        for channel in self._channels.values():
            channel.look()

    def close(self) -> None:
        """Finish all files."""
        for channel in self._channels.values():
            channel.close()

    def take_reports(self) -> list[Report]:
        """Return what there is to say since this was asked last."""
        return [report for channel in self._channels.values() if (report := channel.take_report())]


def run(connection: socket.socket, *, server: int | None = None) -> None:
    """Write what comes until nothing more can come.

    :param connection: to the server; what became of requests is told over it.
    :param server: its process, of which this one is a child; default: not looked for.
    """
    connection.settimeout(_IDLE_SECONDS)
    writing, frames = Writing(), Frames()
    looked = 0.0
    while True:
        try:
            data = connection.recv(_READ_BYTES)
            if not data:
                break
        except TimeoutError:
            data = b""
        except ConnectionError:
            break
        for frame in frames.of(data):
            writing.take(frame)
        now = time.monotonic()
        if now - looked >= _IDLE_SECONDS:
            looked = now
            writing.look()
        if not _tell(connection, writing):
            break
        # Whoever was forked from the server may hold its end of the connection open.
        if not data and server is not None and os.getppid() != server:
            break
    writing.close()
    _tell(connection, writing)


def _tell(connection: socket.socket, writing: Writing) -> bool:
    """Tell the server what became of requests; return whether it still takes that."""
    try:
        for report in writing.take_reports():
            connection.sendall(json.dumps(asdict(report)).encode() + b"\n")
    except OSError:
        return False
    return True


def _name(producer: str) -> str:
    """Return a name of this process for its files."""
    host = "".join(each for each in socket.gethostname()[:40] if each.isalnum() or each == "-")
    return f"{producer}-{host}-{os.getpid()}-{uuid4().hex[:8]}"


def main() -> None:
    """Run as the child of a server, which is at the other end of standard input; its process is the first argument."""
    # It ends when its server does and has written what waits, and not with the terminal or before its time.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _keep_out_of_the_way()
    run(socket.socket(fileno=0), server=int(sys.argv[1]))


def _keep_out_of_the_way() -> None:
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # texts would stand in it
