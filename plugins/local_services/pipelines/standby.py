"""A process of the pipeline half that has made a run's imports before there is a run (``include.pipelines.standby``).

PyTorch, Transformers and MLflow take eight seconds of CPU to import. Whoever knows that a run is coming starts such a
process, and the next run of the same folder becomes that process instead of a new one. Nothing here imports Airflow:
the process is of use only if it starts before Airflow does.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from local_services.pipelines.marked_processes import child_environment, stop_marked

_MODULE = "include.pipelines.standby"
# Beside the runs, and hidden from whoever lists them.
_FOLDER = ".standby"


def start(*, python: str, project_dir: str, runs_dir: Path) -> None:
    """Start a process that waits for a run. It ends by itself when none comes for two minutes.

    :param python: interpreter of the pipeline half's environment, absolute path.
    :param project_dir: folder that holds ``include``.
    :param runs_dir: folder of the runs that it may be used for.
    """
    folder = runs_dir / _FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.Popen(
        [python, "-m", _MODULE, str(folder)],
        env=child_environment(python, project_dir, str(uuid4())),
        cwd=project_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def take(runs_dir: Path, run_dir: Path) -> str | None:
    """Take a waiting process for a run, so that nobody else can.

    :param run_dir: the run's folder, in which the process's socket will lie.
    :return: the process's mark, ``None`` when no process waits.
    """
    for waiting in sorted((runs_dir / _FOLDER).glob("[!.]*")):
        with suppress(FileNotFoundError):  # somebody else was faster
            waiting.rename(run_dir / waiting.name)
            return waiting.name
    return None


def hand_over(run_dir: Path, mark: str, *, lock: int, log: int) -> int | None:
    """Make the process that was taken the run's own.

    :param mark: what :func:`take` returned.
    :param lock: descriptor of the run's locked file; the process holds the lock from here on.
    :param log: descriptor that the run writes to.
    :return: its process id, ``None`` when it is not there any more.
    """
    folder = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            # Through the descriptor, because a socket's own path may have no more than 107 bytes.
            connection.connect(f"/proc/self/fd/{folder}/{mark}")
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            socket.send_fds(connection, [os.fsencode(run_dir)], [lock, log])
    except (ConnectionError, FileNotFoundError):
        return None
    finally:
        os.close(folder)
        (run_dir / mark).unlink(missing_ok=True)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def dismiss(runs_dir: Path) -> None:
    """Stop the processes that still wait for a run."""
    for waiting in (runs_dir / _FOLDER).glob("[!.]*"):
        with suppress(FileNotFoundError):
            waiting.unlink()
            stop_marked(waiting.name, grace_seconds=0)
