"""Waiting for a server that is away, and ending what was begun when the pod is told to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from include.classifier.cluster.api import UnreachableError

T = TypeVar("T")

#: Looks in a row that may find no server: half an hour, of ten seconds each.
_MOST_MISSED = 180
#: Until a signal that came while something was logged is heard again, in seconds.
_AGAIN_SECONDS = 0.05


class ToldToEndError(SystemExit):
    """The pod is told to end."""


def patiently(call: Callable[[], T], *, wait: Callable[[], object]) -> T:
    """Return what a call returns, once the server answers.

    :param wait: called between two tries.
    :raises UnreachableError: when it is away for 180 tries after the first one.
    :raises ClusterError: when it refuses.
    """
    for _ in range(_MOST_MISSED):
        try:
            return call()
        except UnreachableError:
            wait()
    return call()


@contextmanager
def ends_with_the_run(clean_up: Callable[[], None]) -> Iterator[None]:
    """Clean up when the pod is told to end (SIGTERM): a run that was cancelled trains no more.

    A process that is no pod's first thread is left alone: only there can signals be heard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        if _is_logging(frame):
            # It holds the lock of all logging, would keep it, and every other thread would wait for it.
            threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()
            return
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ToldToEndError(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except ToldToEndError:
        # Not in the handler: what it interrupted may hold a lock of the client's.
        clean_up()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _is_logging(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == "logging":
            return True
        frame = frame.f_back
    return False
