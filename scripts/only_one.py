"""Lets one process at a time do something with the state folder; others wait for it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(file: Path, *, waiting: str = "") -> Iterator[None]:
    """Hold a file's lock. The kernel takes it back however the process ends, and no child process inherits it.

    :param file: made when it is not there.
    :param waiting: what is said when somebody else has it.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                print(waiting, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
