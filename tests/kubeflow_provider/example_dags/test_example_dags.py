"""The examples are whole: each runs to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kubeflow_provider.triggers.base import PollingTrigger
from tests.doubles.kfp_server import kfp_server


@pytest.mark.processes
def test_kubeflow_pipelines(monkeypatch: pytest.MonkeyPatch, run_dag: Callable[..., Any]) -> None:
    from kubeflow_provider.example_dags.example_kubeflow_pipelines import archive

    monkeypatch.setattr(PollingTrigger, "first_event_seconds", 0.0)
    with kfp_server() as server:
        server.script(None, ["PENDING", "RUNNING", "SUCCEEDED"])
        value = json.dumps({"conn_type": "kubeflow_pipelines", "host": server.url})
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", value)

        dag_run = run_dag(archive.dag, name="everybody", times=2)

    assert dag_run.state == "success"
    (run,) = server.runs.values()
    assert run.runtime_config["parameters"] == {"name": "everybody", "times": 2}
    assert (run.state, run.storage_state) == ("SUCCEEDED", "ARCHIVED")
