from __future__ import annotations

from threading import Event, Lock

import pytest

from kubeflow_provider.operators.cancelling import cancel_from_signal_handler
from tests.waiting import LIMIT_SECONDS


def test_every_action_runs_also_when_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    done = []

    def fail() -> None:
        raise RuntimeError("no network")

    cancel_from_signal_handler(fail, lambda: done.append("stored"))

    assert done == ["stored"]
    assert "Stopping was not complete: RuntimeError: no network" in caplog.text


def test_a_lock_of_the_interrupted_code_does_not_hold_it_for_ever() -> None:
    lock, stopped = Lock(), Event()

    def stop() -> None:
        with lock:
            stopped.set()

    with lock:  # as in a signal handler that interrupts whoever holds it
        cancel_from_signal_handler(stop, seconds=0.05)
        assert not stopped.is_set()

    assert stopped.wait(LIMIT_SECONDS), "it goes on as soon as the interrupted code does"
