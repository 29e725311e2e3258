"""Feeds requests to the process that writes them, through a queue that is bounded and that nobody waits for.

Nothing that goes wrong here reaches a request: it is counted, and said in the log once in a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from include.capture.exchanges import Exchange
from include.capture.frames import carrying, ending, opening
from include.capture.switch import Switch
from include.capture.writer import Writer, WriterGoneError, start_writer

_log = logging.getLogger(__name__)

#: Of frames that are made in one go: other threads of the server have their turn in between.
_FRAMES_BYTES = 16_384
_COMPLAIN_SECONDS = 60.0
#: Doublings of the pause before another process is started, at most.
_MOST_DOUBLINGS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is held, and how it is written.

    :param queue_requests: that wait for the process that writes, at most.
    :param queue_bytes: of their bodies together, about.
    :param request_bytes: a larger one is not captured.
    :param write_seconds: between two looks at the queue; what a killed server has not handed on is of this time.
    :param file_bytes: a file that has more is closed.
    :param file_seconds: a file that is older is closed.
    :param restart_seconds: until another process is started when one has ended before its server; twice as long each
        time, up to 64 times, until one has lived longer than that.
    """

    queue_requests: int = 2_000
    queue_bytes: int = 32_000_000
    request_bytes: int = 1_000_000
    write_seconds: float = 0.5
    file_bytes: int = 8_000_000
    file_seconds: float = 60
    restart_seconds: float = 10


@dataclass(slots=True)
class Counts:
    """What became of requests that were drawn.

    :param written: that stand in a file.
    :param dropped: for which there was no room in the queue.
    :param too_large: that have more bytes than are captured.
    :param failed: that could not be made a line of, or could not be written.
    :param lost: that a process had been given which ended before it said what became of them.
    :param deleted_files: captured files that had to make room for newer ones.
    """

    written: int = 0
    dropped: int = 0
    too_large: int = 0
    failed: int = 0
    lost: int = 0
    deleted_files: int = 0

    def items(self) -> list[tuple[str, int]]:
        """Return each with its name."""
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


@dataclass(eq=False, slots=True)
class Channel:
    """What is captured of one model with the same settings.

    :param settings: see :class:`include.capture.writing.Channel`.
    :param switch: that switches it off.
    :param under_way: requests that the process has and has not accounted for.
    """

    number: int
    settings: dict[str, Any]
    switch: Switch
    counts: Counts = field(default_factory=Counts)
    under_way: int = 0


class Feed:
    """The queue of one server, for all of its models, and the thread that empties it into a process.

    Thread and process begin with the first request, so that a server may be forked before.

    :param limits: how much it holds.
    :param start: starts the process; default: :func:`.writer.start_writer`.
    """

    def __init__(self, limits: Limits = Limits(), *, start: Callable[[], Writer] | None = None) -> None:
        self.limits = limits
        self.restarts = 0  #: Processes that were started because one had ended before its time.
        self._start = start or start_writer
        self._channels: list[Channel] = []
        self._queue: deque[tuple[int, Channel, Exchange | None]] = deque()
        self._queue_bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._writer: Writer | None = None
        self._started = 0.0
        self._deaths = 0
        self._pause_until = 0.0
        self._complained = -_COMPLAIN_SECONDS

    @property
    def is_running(self) -> bool:
        """Whether there is a thread, which looks at the switches."""
        return self._thread is not None

    @property
    def waiting(self) -> int:
        """Requests that wait for the process."""
        return len(self._queue)

    def open(self, settings: dict[str, Any], switch: Switch) -> Channel:
        """Return a channel for a model."""
        with self._lock:
            channel = Channel(len(self._channels), settings, switch)
            self._channels.append(channel)
        return channel

    def offer(self, channel: Channel, exchange: Exchange) -> None:
        """Take a request to be written, unless there is no room; never waits, never raises."""
        try:
            size = exchange.size
            if size > self.limits.request_bytes:
                channel.counts.too_large += 1
                return
            with self._lock:
                if (
                    len(self._queue) >= self.limits.queue_requests
                    or self._queue_bytes + size > self.limits.queue_bytes
                    or self._closing.is_set()
                ):
                    channel.counts.dropped += 1
                    return
                self._put(size, channel, exchange)
        except Exception as error:  # whatever it is: the request has its answer
            channel.counts.failed += 1
            self._complain(channel.settings["model"], type(error).__name__)

    def end(self, channel: Channel) -> None:
        """Let a channel's file be finished when what waits of it is written; never waits."""
        with self._lock:
            if self._thread is not None:
                self._put(0, channel, None)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Let everything be written that waits, and the files be finished, within a time; never raises."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _put(self, size: int, channel: Channel, exchange: Exchange | None) -> None:
        self._queue.append((size, channel, exchange))
        self._queue_bytes += size
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
            self._thread.start()

    # The thread

    def _run(self) -> None:
        while True:
            is_last = self._closing.wait(self.limits.write_seconds)
            try:
                self._look()
                if is_last:
                    self._pause_until = 0.0
                self._hear()
                self._empty()
                if is_last:
                    self._end()
            except Exception as error:  # this thread must outlive it
                self._complain("a model", type(error).__name__)
            if is_last:
                return

    def _look(self) -> None:
        """Look at the switches, and forget what waits where capturing was switched off."""
        for channel in self._channels:
            channel.switch.look()
        if any(channel.switch.is_off for channel in self._channels):
            with self._lock:
                self._queue = deque(item for item in self._queue if not item[1].switch.is_off)
                self._queue_bytes = sum(size for size, _, _ in self._queue)

    def _empty(self) -> None:
        """Feed the process whatever waits, if there is one."""
        while self._queue and (writer := self._ready_writer()):
            writer.feed(self._next_frames(writer))
            self._hear()

    def _next_frames(self, writer: Writer) -> bytes:
        frames: list[bytes] = []
        size = 0
        while size < _FRAMES_BYTES and (item := self._pop()):
            channel, exchange = item
            if channel.number not in writer.opened:
                writer.opened.add(channel.number)
                frames.append(opening(channel.number, channel.settings))
            try:
                frames.append(carrying(channel.number, exchange) if exchange else ending(channel.number))
            except Exception as error:
                channel.counts.failed += 1
                self._complain(channel.settings["model"], type(error).__name__)
                continue
            size += len(frames[-1])
            channel.under_way += exchange is not None
        return b"".join(frames)

    def _pop(self) -> tuple[Channel, Exchange | None] | None:
        with self._lock:
            if not self._queue:
                return None
            size, channel, exchange = self._queue.popleft()
            self._queue_bytes -= size
        return channel, exchange

    def _ready_writer(self) -> Writer | None:
        """Return the process, started if it must be; ``None`` in the pause after one has ended."""
        now = time.monotonic()
        if self._writer is None and now >= self._pause_until:
            try:
                self._writer = self._start()
            except OSError as error:
                self._wait_longer(now)
                self._complain("a model", str(error))
                return None
            self.restarts += self._deaths > 0
            self._started = now
        return self._writer

    def _hear(self) -> None:
        """Count what the process has told, and notice when it is gone."""
        if self._writer:
            try:
                for report in self._writer.hear():
                    self._note(report)
            except WriterGoneError as error:
                self._bury(error)

    def _note(self, report: dict[str, Any]) -> None:
        channel = self._channels[report["channel"]]
        counts = channel.counts
        counts.written += report["written"]
        counts.failed += report["failed"]
        counts.deleted_files += report["deleted_files"]
        channel.under_way -= report["written"] + report["failed"] + report["forgotten"]
        if report["problem"]:
            self._complain(channel.settings["model"], report["problem"])

    def _bury(self, error: WriterGoneError) -> None:
        now = time.monotonic()
        self._writer = None
        if now - self._started > self._pause_seconds:
            self._deaths = 0
        self._wait_longer(now)
        for channel in self._channels:
            channel.counts.lost += channel.under_way
            channel.under_way = 0
        self._complain("a model", f"the process that writes them has ended with {error.code}")

    @property
    def _pause_seconds(self) -> float:
        return self.limits.restart_seconds * 2 ** min(max(0, self._deaths - 1), _MOST_DOUBLINGS)

    def _wait_longer(self, now: float) -> None:
        self._deaths += 1
        self._pause_until = now + self._pause_seconds

    def _end(self) -> None:
        """Let the process end; what it could not be given is dropped."""
        if self._writer:
            for report in self._writer.end(timeout_seconds=_COMPLAIN_SECONDS):
                self._note(report)
            self._writer = None
        while item := self._pop():
            item[0].counts.dropped += item[1] is not None

    def _complain(self, model: str, what: str) -> None:
        """Say what went wrong, once in a while."""
        now = time.monotonic()
        if now - self._complained >= _COMPLAIN_SECONDS:
            self._complained = now
            _log.error("Requests of %s are not captured (%s); they are answered as ever", model, what)
