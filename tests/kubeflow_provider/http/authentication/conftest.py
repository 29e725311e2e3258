"""Connections with a login, and the servers that ask for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection

from kubeflow_provider.http.authentication import flow
from kubeflow_provider.http.client import HttpClient, Patience
from tests.doubles.web import WebServer

HASTY = Patience(first_pause_seconds=0.001, longest_pause_seconds=0.01)


@pytest.fixture
def start() -> Iterator[Callable[[WebServer], Any]]:
    """Return ``start(server)`` for servers that are closed after the test."""
    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def connect() -> Callable[..., HttpClient]:
    """Return ``connect(url, login=..., password=..., **extra)``."""

    def connect(url: str, *, login: str = "", password: str = "", **extra: Any) -> HttpClient:
        connection = Connection(
            conn_id="kf",
            conn_type="kubeflow_pipelines",
            host=f"{url}/pipeline",
            login=login,
            password=password,
            extra=json.dumps(extra),
        )
        client = HttpClient.from_connection(connection, service="KFP")
        client._patience = HASTY
        return client

    return connect


@pytest.fixture
def forget_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a login be tried again at once after it was refused."""
    monkeypatch.setattr(flow, "REMEMBER_REFUSAL_SECONDS", 0.0)
    monkeypatch.setattr(flow, "LOGIN_AGAIN_SECONDS", 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Return the clock of logins; its ``seconds`` are for the test to move."""
    clock = SimpleNamespace(seconds=time.time())
    clock.time = lambda: clock.seconds
    monkeypatch.setattr(flow, "time", clock)
    return clock
