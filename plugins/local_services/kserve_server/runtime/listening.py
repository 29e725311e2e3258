"""Listens at sockets that are ready before the first request, and stops without losing one."""

from __future__ import annotations

import logging
import socket
import threading
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

_LOG_BYTES = 5_000_000
_GRACE_SECONDS = 30


class DrainingServer(uvicorn.Server):
    """A server that, told to end, goes on for a moment, for requests that are on their way to it.

    :param drain_seconds: how long.
    """

    def __init__(self, config: uvicorn.Config, *, drain_seconds: float) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._is_draining = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; asked again, end at once."""
        if self._is_draining or not self._drain_seconds:
            self.should_exit = True
            return
        self._is_draining = True
        timer = threading.Timer(self._drain_seconds, self._stop)
        timer.daemon = True
        timer.start()

    def _stop(self) -> None:
        self.should_exit = True


def listen(app: Any, sockets: list[socket.socket], *, drain_seconds: float, most_connections: int) -> None:
    """Answer at the sockets until the process is told to end."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        limit_concurrency=most_connections,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    DrainingServer(config, drain_seconds=drain_seconds).run(sockets=sockets)


def private_socket(path: Path) -> socket.socket:
    """Return a socket that listens at a path which appears only once it does."""
    part = path.with_name(path.name + "p")
    part.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(part))
    listener.listen(128)
    part.replace(path)
    return listener


def write_log(path: Path) -> None:
    """Let every logger write into one file that cannot grow without an end."""
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("kserve.trace", "uvicorn.access", "httpx", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
