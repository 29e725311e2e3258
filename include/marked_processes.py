"""Processes that are known by a variable of their environment, which their children inherit.

Such a mark, unlike the number of a process, is never given to somebody else, and finds also what has moved to a process
group of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

#: The longest that a program is waited for which is being loaded.
_LOADING_SECONDS = 5.0

#: The kernel's own threads, its children, never have arguments.
_KERNEL = 2

_POLL_SECONDS = 0.05


def find(variable: str, value: str) -> list[psutil.Process]:
    """Return the processes that carry a mark, but for this one and those that only wait to be buried."""
    found = []
    for process in psutil.process_iter():
        try:
            if _environment(process).get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # another user's, or gone by now
    return [process for process in found if process.pid != os.getpid()]


def end(variable: str, value: str, signal: Callable[[psutil.Process], None], seconds: float) -> bool:
    """Signal the marked processes, those that appear meanwhile too; return whether one is left after that time."""
    signalled: set[psutil.Process] = set()
    deadline = time.monotonic() + seconds
    while left := set(find(variable, value)):
        for process in left - signalled:
            with suppress(psutil.NoSuchProcess):
                signal(process)
        signalled |= left
        if time.monotonic() > deadline:
            return True
        # Looked for again instead of waited for: waiting would take a child's exit code away from its owner.
        time.sleep(_POLL_SECONDS)
    return False


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return a process's environment, once it has one.

    Whoever starts a process hears that its program is being loaded a moment before the kernel shows arguments and
    environment: on a busy machine, long enough to be asked to end it in between.
    """
    deadline = time.monotonic() + _LOADING_SECONDS
    while not (environment := process.environ()) and _is_loading(process) and time.monotonic() < deadline:
        time.sleep(0.001)
    return environment


def _is_loading(process: psutil.Process) -> bool:
    return not process.cmdline() and process.ppid() != _KERNEL and process.status() != psutil.STATUS_ZOMBIE
