"""A model that answers when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def busy(server: Any) -> Iterator[threading.Event]:
    """Keep the model from answering until the event is set or the block ends."""
    answers = threading.Event()
    forward = server.service.forward
    computes = forward.computes
    forward.computes = lambda rows: (answers.wait(60), computes(rows))[1]
    try:
        yield answers
    finally:
        answers.set()
        forward.computes = computes
