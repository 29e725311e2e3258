"""Connections that lead to objects of a test."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from airflow.sdk import Connection

from kubeflow_provider import hooks

_TYPE = "of_a_test"
_services: dict[str, Any] = {}


def install(monkeypatch: pytest.MonkeyPatch, connection_type: str, hook: str) -> None:
    """Let a connection type stand for a hook, as an installed package would, until the test is over.

    :param hook: ``module:class`` of it.
    """
    installed = hooks._hooks

    def found(group: str) -> dict[str, EntryPoint]:
        return {**installed(group), connection_type: EntryPoint(connection_type, hook, group)}

    monkeypatch.setattr(hooks, "_hooks", found)


def connect(monkeypatch: pytest.MonkeyPatch, **services: Any) -> None:
    """Let each connection lead to the given object, until the test is over.

    :param services: connection id -> what stands in for a pipeline service, a serving system or a registry.
    """
    install(monkeypatch, _TYPE, f"{__name__}:service_of")
    for conn_id, service in services.items():
        monkeypatch.setitem(_services, conn_id, service)
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": _TYPE}))


def service_of(conn_id: str, *, connection: Connection) -> Any:
    """Return the object that was given for a connection; stands in the place of a hook's class."""
    return _services[conn_id]
