from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from kubeflow_provider.airflow_id import AIRFLOW_ID
from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook
from kubeflow_provider.http.client import Patience
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import (
    RUNNING,
    UI,
    Task,
)


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with kfp_server() as server:
        server.script(None, ["PENDING", RUNNING, RUNNING, "SUCCEEDED"])
        yield server


@pytest.fixture
def task(server: KfpServer, record_and_wait: str, monkeypatch: pytest.MonkeyPatch) -> Task:
    value = {"conn_type": "kubeflow_pipelines", "host": server.url, "extra": {"ui_url": UI, "outage_seconds": 0.2}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", json.dumps(value))
    monkeypatch.setenv(f"AIRFLOW_VAR_{AIRFLOW_ID.upper()}", "11111111-1111-4111-8111-111111111111")
    monkeypatch.setattr(KubeflowPipelinesHook, "settle_seconds", 0.1)
    monkeypatch.setattr(Patience, "pause", lambda patience, state: 0.01)
    return Task(record_and_wait)
