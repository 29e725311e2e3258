"""What no server can do for an outage: names that are not resolved, and an end that waits for who waits."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest

from kubeflow_provider.outages import Outage


@contextmanager
def names_unknown(name: str = "localhost") -> Iterator[None]:
    """Do not resolve a name for as long as the block lasts; the servers of this process call each other by address."""
    resolve = socket.getaddrinfo

    def fail(host: Any, *arguments: Any, **options: Any) -> Any:
        if host in (name, name.encode()):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve(host, *arguments, **options)

    with mock.patch.object(socket, "getaddrinfo", fail):
        yield


class Interruption:
    """An outage that ends when somebody has waited for it a few times; no pause takes longer than a moment.

    :param pauses: so many. A test ends it in any case, or the next one has it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, pauses: int = 3) -> None:
        self.pauses = 0
        self.ends_after = pauses
        self._stack = ExitStack()
        pause = Outage.pause

        def counted(outage: Outage, error: Any) -> float:
            seconds = pause(outage, error)
            self.pauses += 1
            if self.pauses == self.ends_after:
                self.end()
            return min(seconds, 0.01)

        monkeypatch.setattr(Outage, "pause", counted)

    def begin(self, *troubles: AbstractContextManager[Any]) -> None:
        """Let troubles begin."""
        for trouble in troubles:
            self._stack.enter_context(trouble)

    def end(self) -> None:
        """Let all of them end."""
        self._stack.close()
