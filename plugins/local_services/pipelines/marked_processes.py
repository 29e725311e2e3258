"""Child processes of the pipeline half: what they inherit, and how all of them are found again and stopped.

A process is marked through its environment, which its own children inherit. A mark, unlike a process id, is never
given to somebody else, and finds also what a step has moved to a process group of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

#: Environment variable with the mark. Runs that are going on carry it: never rename.
MARK = "PIPELINE_RUN_ID"

_KILL_SECONDS = 2.0

#: The longest that a program is waited for which is being loaded.
_LOADING_SECONDS = 5.0

#: The kernel's own threads, its children, never have arguments.
_KERNEL = 2

# What makes a Python another Python than the one that was asked for.
_FOREIGN = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}


def child_environment(python: str, project_dir: str, mark: str) -> dict[str, str]:
    """Return the environment for a child: this process's, without Airflow's secrets and without its Python.

    :param python: interpreter of the child, absolute path.
    :param project_dir: the one folder that the child imports from besides its own packages.
    :param mark: see :data:`MARK`.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in _FOREIGN and "AIRFLOW" not in name.upper() and "FERNET" not in name.upper()
    }
    return inherited | {
        "PATH": os.pathsep.join([str(Path(python).parent), inherited.get("PATH", os.defpath)]),
        "PYTHONPATH": project_dir,
        "PYTHONUNBUFFERED": "1",
        MARK: mark,
    }


def terminate_marked(mark: str, *, grace_seconds: float = 3.0) -> None:
    """Stop every process that carries the mark: ask, wait, then kill.

    :param grace_seconds: how long they have to end by themselves. Airflow kills a task five seconds after it asked
        the task to stop, so the default leaves time for the rest.
    """
    if _end(mark, psutil.Process.terminate, grace_seconds):
        _end(mark, psutil.Process.kill, _KILL_SECONDS)


def _end(mark: str, signal: Callable[[psutil.Process], None], seconds: float) -> bool:
    """Signal the marked processes, those that appear meanwhile too; return whether one is left after that time."""
    signalled: set[psutil.Process] = set()
    deadline = time.monotonic() + seconds
    while left := set(_find(mark)):
        for process in left - signalled:
            with suppress(psutil.NoSuchProcess):
                signal(process)
        signalled |= left
        if time.monotonic() > deadline:
            return True
        # Looked for again instead of waited for: waiting would take a child's exit code away from its owner.
        time.sleep(0.05)
    return False


def _find(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if _environment(process).get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # another user's, or gone by now
    return [process for process in found if process.pid != os.getpid()]


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return a process's environment, once it has one.

    Whoever starts a process hears that its program is being loaded a moment before the kernel shows arguments and
    environment: on a busy machine, long enough to be asked to stop a run in between.
    """
    deadline = time.monotonic() + _LOADING_SECONDS
    while not (environment := process.environ()) and _is_loading(process) and time.monotonic() < deadline:
        time.sleep(0.001)
    return environment


def _is_loading(process: psutil.Process) -> bool:
    return not process.cmdline() and process.ppid() != _KERNEL and process.status() != psutil.STATUS_ZOMBIE
