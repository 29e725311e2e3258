"""Keeps the libraries below from logging what they send and receive.

httpx logs whole URLs, whose queries hold authorization codes; httpcore logs response headers with their cookies at
DEBUG, and the Kubernetes client the bodies of responses, which hold tokens. Other users of these libraries keep
their logs: only what is logged while one of our own requests is going on is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "kubernetes.client.rest",
    "urllib3.connectionpool",
)
_is_quiet = ContextVar("is_quiet", default=False)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop the libraries' log records for the duration, in this thread or task only."""
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def _is_not_ours(record: logging.LogRecord) -> bool:
    return not _is_quiet.get()


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_is_not_ours)
