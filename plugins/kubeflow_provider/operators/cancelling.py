"""Stops remote work from a signal handler."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Thread

log = logging.getLogger(__name__)

#: Airflow kills a task's process five seconds after it has asked it to stop.
_SECONDS = 4.0


def cancel_from_signal_handler(*actions: Callable[[], object], seconds: float = _SECONDS) -> None:
    """Run every action in a thread of its own and wait a few seconds for them.

    A signal handler runs in the middle of whatever the main thread was doing. Where that holds a lock (of the HTTP
    client, of the line to Airflow's supervisor), an action in the handler itself would wait for it for ever; a thread
    gets it as soon as the handler returns. A failing action is logged and keeps no other from running.

    :param actions: for example ``lambda: service.terminate_run(run_id)``.
    :param seconds: longest wait for all of them; they go on afterwards.
    """
    threads = [Thread(target=_run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def _run(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:  # the process is about to end; whatever it was, somebody should read of it
        log.warning("Stopping was not complete: %s: %s", type(error).__name__, error)
