"""Ending when the pod is told to."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

from include.classifier.cluster.waiting import ToldToEndError, ends_with_the_run
from tests.waiting import LIMIT_SECONDS


class _Interrupted(logging.Handler):
    """Is told to end while it holds the locks of whoever logs."""

    def emit(self, record: logging.LogRecord) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_who_is_told_to_end_while_something_is_logged_ends_when_it_is() -> None:
    log, handler = logging.getLogger("told to end"), _Interrupted()
    log.addHandler(handler)
    done = []
    before = signal.getsignal(signal.SIGTERM)

    def told() -> None:
        with ends_with_the_run(lambda: done.append("cleaned up")):
            log.warning("going on")
            done.append("logged")
            threading.Event().wait(LIMIT_SECONDS)

    with pytest.raises(ToldToEndError):
        told()

    log.removeHandler(handler)
    assert done == ["logged", "cleaned up"]
    assert signal.getsignal(signal.SIGTERM) is before
    # The lock that a signal in the middle of it would have left behind.
    other = threading.Thread(target=logging.getLogger("another").setLevel, args=[logging.INFO])
    other.start()
    other.join(LIMIT_SECONDS)
    assert not other.is_alive()
