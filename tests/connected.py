"""Connections that lead to objects of a test."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Connection

from kubeflow_provider.hooks import PIPELINE_HOOKS, SERVING_HOOKS
from model_releases.registry import REGISTRY_HOOKS

_TYPE = "of_a_test"
_services: dict[str, Any] = {}


def connect(monkeypatch: pytest.MonkeyPatch, **services: Any) -> None:
    """Let each connection lead to the given object, until the test is over.

    :param services: connection id -> what stands in for a pipeline service, a serving system or a registry.
    """
    for hooks in (PIPELINE_HOOKS, SERVING_HOOKS, REGISTRY_HOOKS):
        monkeypatch.setitem(hooks, _TYPE, f"{__name__}.service_of")
    for conn_id, service in services.items():
        monkeypatch.setitem(_services, conn_id, service)
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": _TYPE}))


def service_of(conn_id: str, *, connection: Connection) -> Any:
    """Return the object that was given for a connection; stands in the place of a hook's class."""
    return _services[conn_id]
