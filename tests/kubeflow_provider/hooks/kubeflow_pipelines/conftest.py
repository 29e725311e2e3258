"""A server, and hooks that speak to it with little patience."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import Connection

from kubeflow_provider.hooks._kubeflow_pipelines import submission
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.http.client import HttpClient, Patience
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.services import RunRequest
from tests.doubles.kfp_server import KfpServer, kfp_server

MakeHook = Callable[..., KubeflowPipelinesHook]
MakeRequest = Callable[..., RunRequest]


@pytest.fixture
def server() -> Iterator[KfpServer]:
    """Return a multi-user server on which nothing runs by itself."""
    with kfp_server(multi_user=True, prefix="/pipeline") as server:
        yield server


@pytest.fixture
def make_hook(monkeypatch: pytest.MonkeyPatch) -> MakeHook:
    """Return ``make(host, **extra)``; ``login`` and ``password`` are the connection's own fields."""
    monkeypatch.setattr(KubeflowPipelinesHook, "settle_seconds", 0.6)
    monkeypatch.setattr(submission, "_FIRST_PAUSE_SECONDS", 0.05)

    def make(
        host: str, *, login: str | None = None, password: str | None = None, **extra: Any
    ) -> KubeflowPipelinesHook:
        connection = Connection(
            conn_id="pipelines",
            conn_type="kubeflow_pipelines",
            host=host,
            login=login,
            password=password,
            extra=json.dumps(extra),
        )
        hook = KubeflowPipelinesHook("pipelines", connection=connection)
        hook.client = HttpClient(
            hook.client.settings,
            hook._auth,
            service="Kubeflow Pipelines",
            patience=Patience(attempts=2, first_pause_seconds=0.01),
        )
        return hook

    return make


@pytest.fixture
def hook(server: KfpServer, make_hook: MakeHook) -> KubeflowPipelinesHook:
    """Return a hook of that server."""
    return make_hook(server.url, namespace="team")


@pytest.fixture
def make_request(record_and_wait: str) -> MakeRequest:
    """Return ``make(**fields)`` for requests of a new run."""

    def make(**fields: Any) -> RunRequest:
        given = {
            "run_id": str(uuid4()),
            "pipeline": read_pipeline_spec(record_and_wait),
            "parameters": {"file": "/tmp/recorded"},
            "display_name": "a test",
            "experiment": "tests",
        }
        return RunRequest(**(given | fields))

    return make
