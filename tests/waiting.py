"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

#: For what never comes. What is slow, because the machine has other work too, must not fail for it.
LIMIT_SECONDS = 600.0


def wait_for(
    is_true: Callable[[], object], what: str | Callable[[], str], *, seconds: float = LIMIT_SECONDS, pause: float = 0.05
) -> None:
    """Wait until something is true.

    :param what: names it in the error if it never is; a function is asked then.
    :param seconds: how long.
    :param pause: seconds between two looks.
    """
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"never, in {seconds} s: {what() if callable(what) else what}")
        time.sleep(pause)
