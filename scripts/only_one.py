"""Lets one process at a time do something with the state folder; others wait for it, or leave it."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


@contextmanager
def only_one(file: Path, *, waiting: str = "", refusal: str = "") -> Iterator[None]:
    """Hold a file's lock. The kernel takes it back however the process ends, and no child process inherits it.

    :param file: made when it is not there.
    :param waiting: what is said when somebody else has it, before this process waits for it.
    :param refusal: what is said instead of waiting.
    :raises SystemExit: with the refusal.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if refusal:
                sys.exit(refusal)
            if waiting:
                print(waiting, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def one_starter(state: Path) -> AbstractContextManager[None]:
    """Be the only one who starts or stops what runs with a state folder: two would take each other's for gone."""
    return only_one(state / "starts.lock", waiting="Another command starts or stops what runs here; waiting for it.")
