"""Processes that compute side by side and share one copy of the weights: they are forked when the model is loaded.

The kernel copies no page that nobody writes to, and nobody writes to weights. A worker is given rows of token ids and
gives probabilities back; requests, tokenizer, queue and numbers stay in the one process in front.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import struct
import sys
import traceback
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress

from include.classifier.native.metrics import Metrics

_log = logging.getLogger(__name__)

#: Makes what computes, in the worker: rows of token ids to the probabilities of each.
MakeCompute = Callable[[], Callable[[list[list[int]]], list[list[float]]]]

#: Of a batch: how many rows, and how many bytes follow. Of an answer: whether it is one, rows, bytes.
_BATCH, _ANSWER = struct.Struct("<II"), struct.Struct("<?II")


#: Of a batch whose worker ends. It need not be its fault; if it is, it must not end all of them.
_TRIES = 2


class WorkerFailedError(Exception):
    """The model failed on a batch in a worker, whose log says where; or the worker is gone."""


class WorkerForward:
    """Computes batches in processes of its own.

    :param make_compute: is called in each worker.
    :param workers: how many.
    """

    def __init__(self, make_compute: MakeCompute, metrics: Metrics, *, workers: int) -> None:
        self.pids: list[int] = []
        self._metrics = metrics
        self._sockets: list[socket.socket] = []
        self._idle: asyncio.Queue[_Line | None] = asyncio.Queue()
        self._alive = workers
        self._when_one_dies: Callable[[], None] = lambda: None
        gc.collect()
        gc.freeze()  # A collection would write to every object, and so copy its page.
        for _ in range(workers):
            self._fork(make_compute)

    def _fork(self, make_compute: MakeCompute) -> None:
        ours, theirs = socket.socketpair()
        # What was printed and is not written yet would be written by both.
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            theirs.close()
            self.pids.append(pid)
            self._sockets.append(ours)
            return
        try:
            # A worker ends when the other end of its socket is closed: nobody but this process may hold that.
            for other in (*self._sockets, ours):
                other.close()
            _work(theirs, make_compute)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    async def start(self, when_one_dies: Callable[[], None]) -> None:
        """Wait until all workers are ready.

        :param when_one_dies: is called as soon as one of them ends.
        :raises WorkerFailedError: when one cannot compute.
        """
        for number, each in enumerate(self._sockets):
            line = _Line(*await asyncio.open_connection(sock=each))
            if not await line.is_ready():
                raise WorkerFailedError(f"Worker {number} ended before it was ready; its reason stands above.")
            self._idle.put_nowait(line)
        self._when_one_dies = when_one_dies

    async def __call__(self, rows: list[Sequence[int]]) -> Sequence[Sequence[float]]:
        """Return the probabilities of each row of token ids.

        :raises WorkerFailedError: when the model fails on them, or when no worker is left.
        """
        loop = asyncio.get_running_loop()
        for _ in range(_TRIES):
            line = await self._take()
            began = loop.time()
            try:
                found = await line.compute(rows)
            except (OSError, asyncio.IncompleteReadError):
                self._bury(f"while it computed {len(rows)} texts")
                continue
            self._idle.put_nowait(line)
            self._metrics.batch_seconds.add(loop.time() - began)
            if found is None:
                raise WorkerFailedError("The model failed on these texts.")
            return found
        raise WorkerFailedError(f"{_TRIES} workers ended while they computed these texts.")

    async def _take(self) -> _Line:
        while self._alive:
            line = await self._idle.get()
            if line and not line.is_dead:
                return line
            if line:
                self._bury("while it had nothing to do")
        raise WorkerFailedError("No worker is left.")

    def _bury(self, when: str) -> None:
        self._alive -= 1
        _log.error("A worker ended %s; %d are left", when, self._alive)
        if not self._alive:
            for _ in self.pids:  # Whoever waits for one waits no longer.
                self._idle.put_nowait(None)
        self._when_one_dies()

    def stop(self) -> None:
        """End the workers and wait for them."""
        for each in self._sockets:
            with suppress(OSError):
                each.close()
        for pid in self.pids:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


class _Line:
    """The connection to one worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_dead(self) -> bool:
        return self._reader.at_eof()

    async def is_ready(self) -> bool:
        return await self._reader.read(1) == b"+"

    async def compute(self, rows: list[Sequence[int]]) -> list[array[float]] | None:
        """Return what the model says of each row, ``None`` where it failed."""
        content = array("I", map(len, rows)).tobytes() + b"".join(array("I", row).tobytes() for row in rows)
        self._writer.write(_BATCH.pack(len(rows), len(content)) + content)
        await self._writer.drain()
        is_answer, number, size = _ANSWER.unpack(await self._reader.readexactly(_ANSWER.size))
        numbers = array("d", await self._reader.readexactly(size))
        if not is_answer:
            return None
        classes = len(numbers) // number
        return [numbers[start : start + classes] for start in range(0, len(numbers), classes)]


def _work(line: socket.socket, make_compute: MakeCompute) -> None:
    """Compute what comes, until nobody is there any more."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # Meant for the process in front, which still wants what is under way.
        signal.signal(number, signal.SIG_IGN)
    compute = make_compute()
    with line, line.makefile("rb") as batches:
        line.sendall(b"+")
        while head := batches.read(_BATCH.size):
            number, size = _BATCH.unpack(head)
            numbers = array("I", batches.read(size))
            lengths, tokens = numbers[:number], iter(numbers[number:])
            rows = [[next(tokens) for _ in range(length)] for length in lengths]
            try:
                content = b"".join(array("d", values).tobytes() for values in compute(rows))
                is_answer = True
            except Exception as error:
                # Without its message, which may repeat what somebody sent.
                place = "".join(traceback.format_tb(error.__traceback__))
                _log.error("The model failed on a batch: %s\n%s", type(error).__name__, place)
                is_answer, content = False, b""
            line.sendall(_ANSWER.pack(is_answer, number, len(content)) + content)
