"""A runner that waits for its run: it makes the imports of a run's steps while there is no run yet.

``python -m include.pipelines.standby FOLDER`` listens on a Unix socket in ``FOLDER`` that is named after this process's
mark (``$PIPELINE_RUN_ID``). Whoever takes the socket's file away owns the process, and hands it one run: the run's
folder as the message, and with it two open files, the run's lock and its log. Nobody comes within the idle time: it
ends.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from importlib import import_module
from pathlib import Path

from include.classifier import steps
from include.pipelines import local_runner

_LONGEST_MESSAGE = 64 * 1024


def wait_for_run(folder: Path, name: str, *, idle_seconds: float) -> Path | None:
    """Wait for a run; its log becomes this process's output, its lock stays open.

    :param folder: where the socket is; it is entered, because a socket's path must be short.
    :param name: file name of the socket.
    :param idle_seconds: how long to wait, counted from the moment at which the imports are made.
    :return: the run's folder, ``None`` when nobody came.
    """
    project = Path.cwd()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        os.chdir(folder)
        listener.bind(f".{name}")
        listener.listen(1)
        # Only now can it be found: who finds it can hand over at once, and need not wait for the imports.
        Path(f".{name}").rename(name)
        os.chdir(project)
        for module in ("kfp.local", *steps.HEAVY_IMPORTS_OF_TRAINING):
            import_module(module)
        listener.settimeout(idle_seconds)
        try:
            connection = listener.accept()[0]
        except TimeoutError:
            try:
                (folder / name).unlink()
                return None
            except FileNotFoundError:  # taken in this very moment
                listener.settimeout(1)
                connection = listener.accept()[0]
    with connection:
        message, descriptors, _, _ = socket.recv_fds(connection, _LONGEST_MESSAGE, 2)
    _, log = descriptors
    sys.stdout.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return Path(os.fsdecode(message))


def main() -> int:
    """Wait for one run and run it."""
    parser = argparse.ArgumentParser(prog="python -m include.pipelines.standby", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--idle-seconds", type=float, default=120)
    arguments = parser.parse_args()
    run_dir = wait_for_run(arguments.folder, os.environ["PIPELINE_RUN_ID"], idle_seconds=arguments.idle_seconds)
    return 0 if run_dir is None or local_runner.run(run_dir) else 1


if __name__ == "__main__":
    sys.exit(main())
