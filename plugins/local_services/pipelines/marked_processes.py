"""Child processes of the pipeline half: what they inherit, and how all of them are found again and stopped.

They are known by a mark in their environment (:mod:`include.marked_processes`).
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from include.marked_processes import end

#: Environment variable with the mark. Runs that are going on carry it: never rename.
MARK = "PIPELINE_RUN_ID"

_KILL_SECONDS = 2.0

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
    if end(MARK, mark, psutil.Process.terminate, grace_seconds):
        end(MARK, mark, psutil.Process.kill, _KILL_SECONDS)
