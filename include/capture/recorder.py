"""Captures requests beside a server: a queue that is bounded and never waited for, and one thread that writes.

Nothing that goes wrong here reaches a request: it is counted, and said in the log once in a while.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from uuid import uuid4

from include.capture.day_files import DayFiles
from include.capture.exchanges import Exchange
from include.capture.redaction import Redaction
from include.contracts.monitoring.capture import CAPTURED, OFF, ServedCapture
from include.contracts.monitoring.captured import is_id
from include.contracts.monitoring.keys import get_key

_log = logging.getLogger(__name__)

#: Of the environment: anything but an empty value keeps a process from capturing.
OFF_VARIABLE = "MODEL_CAPTURE_OFF"

_LOOK_SECONDS = 1.0
_COMPLAIN_SECONDS = 60.0
_RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a recorder holds and how it writes.

    :param queue_requests: that wait to be written, at most.
    :param queue_bytes: of their bodies together, about.
    :param request_bytes: a larger one is not captured.
    :param write_seconds: between two looks at the queue; what a killed process has not written is of this time.
    :param pause_seconds: between two lines while the queue is short, so that requests come first.
    :param file_bytes: a file that has more is closed.
    :param file_seconds: a file that is older is closed.
    """

    queue_requests: int = 2_000
    queue_bytes: int = 32_000_000
    request_bytes: int = 1_000_000
    write_seconds: float = 0.5
    pause_seconds: float = 0.001
    file_bytes: int = 8_000_000
    file_seconds: float = 60


@dataclass(slots=True)
class Counts:
    """What became of requests that were drawn.

    :param written: that stand in a file.
    :param dropped: for which there was no room in the queue.
    :param too_large: that have more bytes than are captured.
    :param failed: that could not be made a line of, or could not be written.
    :param deleted_files: captured files that had to make room for newer ones.
    """

    written: int = 0
    dropped: int = 0
    too_large: int = 0
    failed: int = 0
    deleted_files: int = 0

    def items(self) -> list[tuple[str, int]]:
        """Return each with its name."""
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


class Recorder:
    """Captures the requests of one model in one process.

    Its thread begins with the first request, so that a process may be forked before.

    :param settings: what is captured, and where its files go.
    :param model: name of the model.
    :param producer: what captures, a word for the files' names.
    :param vocabulary: returns that of a version's tokenizer; asked by the thread when another version answers.
    :param limits: how much it holds.
    :raises ValueError: when the store is not on this machine.
    """

    def __init__(
        self,
        settings: ServedCapture,
        *,
        model: str,
        producer: str,
        vocabulary: Callable[[str | None], Collection[str] | None] = lambda version: None,
        limits: Limits = Limits(),
    ) -> None:
        if settings.folder is None:
            raise ValueError(f"capture: the store of {model} is not on this machine, and nothing is captured here")
        self.counts = Counts()
        self._settings = settings
        self._model = model
        self._vocabulary = vocabulary
        self._limits = limits
        self._store = Path(settings.folder)
        self._producer = producer
        self._random = random.Random()  # noqa: S311 - a sample
        self._queue: deque[Exchange] = deque()
        self._queue_bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._looked = 0.0
        self._complained = -_COMPLAIN_SECONDS
        self._is_off = self._look_off()

    @property
    def waiting(self) -> int:
        """Requests that wait to be written."""
        return len(self._queue)

    def wants(self) -> bool:
        """Draw whether a request is captured: before anything is gathered for it."""
        if self._thread is None:  # which looks otherwise
            self._look()
        return not self._is_off and self._random.random() < self._settings.share

    def offer(self, exchange: Exchange) -> None:
        """Take a request to be written, unless there is no room; never waits, never raises."""
        try:
            size = exchange.size
            if size > self._limits.request_bytes:
                self.counts.too_large += 1
                return
            with self._lock:
                if (
                    len(self._queue) >= self._limits.queue_requests
                    or self._queue_bytes + size > self._limits.queue_bytes
                ):
                    self.counts.dropped += 1
                    return
                self._queue.append(exchange)
                self._queue_bytes += size
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
                    self._thread.start()
        except Exception as error:  # whatever it is: the request has its answer
            self.counts.failed += 1
            self._complain(error)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits and finish the file, within a time; never raises."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    # The thread

    def _run(self) -> None:
        files, redaction = None, None
        pause_until = 0.0
        while True:
            is_last = self._closing.wait(self._limits.write_seconds)
            now = time.monotonic()
            try:
                self._look()
                if self._is_off:
                    self._forget_waiting()
                elif now >= pause_until or is_last:
                    if files is None or redaction is None:
                        redaction, files = self._begin()
                    self._write_waiting(redaction, files)
                if files is not None:
                    self.counts.deleted_files = files.deleted
                    if is_last or self._is_off:
                        files.close()
                    else:
                        files.close_if_due(now=time.time())
            except Exception as error:  # a full disk, a folder that is not ours: this thread must outlive it
                pause_until = now + _RETRY_SECONDS
                self._complain(error)
            if is_last:
                return

    def _begin(self) -> tuple[Redaction, DayFiles]:
        settings, limits = self._settings, self._limits
        key = b"" if settings.texts == "keep" else get_key(self._store, self._model)
        redaction = Redaction(self._model, settings.texts, key, self._vocabulary)
        files = DayFiles(
            self._store / CAPTURED,
            _name(self._producer),
            most_bytes=settings.max_megabytes * 1_000_000,
            file_bytes=limits.file_bytes,
            file_seconds=limits.file_seconds,
        )
        files.recover()
        return redaction, files

    def _write_waiting(self, redaction: Redaction, files: DayFiles) -> None:
        for _ in range(len(self._queue)):
            exchange = self._next()
            if exchange is None:
                return
            try:
                line = redaction.line(exchange)
            except Exception as error:
                self.counts.failed += 1
                self._complain(error)
                continue
            try:
                files.write(line, now=exchange.at)
            except OSError:
                self.counts.failed += 1
                raise
            self.counts.written += 1
            if len(self._queue) < self._limits.queue_requests // 4 and not self._closing.is_set():
                time.sleep(self._limits.pause_seconds)

    def _next(self) -> Exchange | None:
        with self._lock:
            if not self._queue:
                return None
            exchange = self._queue.popleft()
            self._queue_bytes -= exchange.size
            return exchange

    def _forget_waiting(self) -> None:
        with self._lock:
            self._queue.clear()
            self._queue_bytes = 0

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._is_off = self._look_off()

    def _look_off(self) -> bool:
        return bool(os.environ.get(OFF_VARIABLE)) or (self._store.parent / OFF).exists()

    def _complain(self, error: Exception) -> None:
        """Say what went wrong, once in a while; of what is wrong with a request only the sort of error."""
        now = time.monotonic()
        if now - self._complained >= _COMPLAIN_SECONDS:
            self._complained = now
            what = str(error) if isinstance(error, OSError) else type(error).__name__
            _log.error("Requests of %s are not captured (%s); they are answered as ever", self._model, what)


def _name(producer: str) -> str:
    """Return a name of this process for its files; drawn here, or a process that was forked would have the same."""
    host = "".join(each for each in socket.gethostname()[:40] if each.isalnum() or each == "-")
    return f"{producer}-{host}-{os.getpid()}-{uuid4().hex[:8]}"


def request_id(given: str | None) -> str:
    """Return the id of a request: its client's where that may stand in files and logs, else one that is drawn."""
    return given if given and is_id(given) else str(uuid4())


def is_wanted(header: str | None) -> bool:
    """Tell whether a request lets itself be captured.

    :param header: its :data:`~include.contracts.monitoring.capture.OPT_OUT_HEADER`.
    """
    return not header or header.strip().lower() == "on"
