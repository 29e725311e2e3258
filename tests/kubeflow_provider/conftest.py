"""How a client asks, and as whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kubeflow_provider import access, outages
from kubeflow_provider.http import authentication
from kubeflow_provider.http.client import HttpClient


@pytest.fixture(autouse=True)
def no_old_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the process's logins: a new server may have the port of an old one, and with it the same address."""
    monkeypatch.setattr(authentication, "_logins", {})
    monkeypatch.setattr(access, "_known", {})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a service that is away again soon."""
    monkeypatch.setattr(outages, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(outages, "LONGEST_PAUSE_SECONDS", 0.05)


@pytest.fixture(params=["task", "trigger"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return ``ask(client, method, path, **options)``: as a task asks, and as a trigger does."""

    def ask(client: HttpClient, method: str, path: str, **options: Any) -> Any:
        if request.param == "task":
            return client.request(method, path, **options)
        return asyncio.run(client.arequest(method, path, **options))

    return ask
