"""Lets one writer at a time to what has no compare-and-set."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

_locks: dict[str, threading.Lock] = {}
_of_locks = threading.Lock()


@contextlib.contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Wait until no other thread, and no other process of this user on this machine, is in such a block.

    :param what: the thing that is written to. Writers on other machines are not kept out.
    """
    with _of_locks:
        lock = _locks.setdefault(what, threading.Lock())
    with lock, _among_processes(what):
        yield


@contextlib.contextmanager
def _among_processes(what: str) -> Iterator[None]:
    folder = Path(tempfile.gettempdir()) / f"model-releases-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        yield  # somebody else's: what they can do there is worse than a mark that is written twice
        return
    file = os.open(folder / hashlib.sha256(what.encode()).hexdigest(), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
