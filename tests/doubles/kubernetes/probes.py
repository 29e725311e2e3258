"""Readiness of a container, as its readiness probe finds it."""

from __future__ import annotations

import http.client
import socket
import time

from tests.doubles.kubernetes.clock import Clock
from tests.doubles.kubernetes.containers import Container

_EVERY_SECONDS = 1.0
_TIMEOUT_SECONDS = 1.0


class Probe:
    """Asks a running container whether it is ready: by HTTP, TCP or a command, as its probe says."""

    def __init__(self, container: Container, clock: Clock) -> None:
        self._container = container
        self._spec = container.spec.get("readinessProbe") or {}
        self._every = _EVERY_SECONDS / clock.speed
        self._next = 0.0

    def changes(self) -> bool:
        """Look when it is time to; return whether the readiness is another one now."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._every
        before, self._container.ready = self._container.ready, self._answers()
        return before != self._container.ready

    def _answers(self) -> bool:
        assert self._container.execution is not None
        run = getattr(self._container.execution, "run", None)
        if "exec" in self._spec and run:
            return bool(run(self._spec["exec"]["command"]) == 0)
        action = self._spec.get("httpGet") or self._spec.get("tcpSocket")
        if not action:
            return True
        address = self._container.execution.addresses.get(self._port(action["port"]))
        if address is None:
            return False
        if "tcpSocket" in self._spec:
            return _connects(address)
        return _status(address, action.get("path", "/")) in range(200, 400)

    def _port(self, port: int | str) -> int:
        if isinstance(port, int):
            return port
        named = {item.get("name"): item["containerPort"] for item in self._container.spec.get("ports") or []}
        return int(named.get(port, 0))


def _connects(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, _TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def _status(address: tuple[str, int], path: str) -> int:
    connection = http.client.HTTPConnection(*address, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
