"""Servers that answer as a test says, and a client for them that does not wait long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubeflow_provider.http.client import HttpClient, HttpSettings, Patience
from tests.doubles.web import Asked, HangUp, Reply, WebServer

HASTY = Patience(first_pause_seconds=0.001, longest_pause_seconds=0.01)
RUNS = "/apis/v2beta1/runs"


class Scripted(WebServer):
    """Gives the replies of a list, the last one again and again; a reply that is an exception is raised."""

    def __init__(self, *replies: Any, **options: Any) -> None:
        super().__init__(**options)
        self.replies = list(replies) or [Reply.json({"fine": True})]

    def answer(self, asked: Asked) -> Reply:
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply == "too slow":
            self.closing.wait(20)
            raise HangUp
        if isinstance(reply, type):
            raise reply
        return reply


@pytest.fixture
def serve() -> Iterator[Callable[..., Scripted]]:
    """Return ``start(*replies)`` for servers that are closed after the test."""
    servers: list[Scripted] = []

    def start(*replies: Any, **options: Any) -> Scripted:
        servers.append(Scripted(*replies, **options).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


def client(server: WebServer, prefix: str = "", **settings: Any) -> HttpClient:
    return HttpClient(HttpSettings(base_url=server.url + prefix, **settings), service="KFP", patience=HASTY)
