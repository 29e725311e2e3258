from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.operators.modules import RunModuleOperator
from local_services.pipelines.hook import LocalPipelinesHook


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", json.dumps({"conn_type": "local_pipelines"}))


def test_runs_a_module_of_the_pipeline_half(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        LocalPipelinesHook, "run_module", lambda hook, *arguments, **options: calls.append((arguments, options))
    )
    RunModuleOperator(
        task_id="preprocess",
        module="m",
        arguments={"a": "1", "b": ""},
        cluster={"image": "trainer:1"},
        timeout=timedelta(minutes=1),
    ).execute({})  # type: ignore[typeddict-item]

    assert calls == [(("m", {"a": "1", "b": ""}), {"timeout_seconds": 60.0, "cluster": {"image": "trainer:1"}})]


def test_the_settings_of_the_cluster_are_templates() -> None:
    assert "cluster" in RunModuleOperator.template_fields


def test_refuses_arguments_that_are_not_text() -> None:
    with pytest.raises(InvalidRequestError, match="these are not: b"):
        RunModuleOperator(task_id="preprocess", module="m", arguments={"a": "1", "b": 2}).execute({})  # type: ignore


def test_on_kill_stops_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = []
    operator = RunModuleOperator(task_id="preprocess", module="m")
    operator.on_kill()  # before it runs
    monkeypatch.setattr(LocalPipelinesHook, "run_module", lambda *arguments, **options: operator.on_kill())
    monkeypatch.setattr(LocalPipelinesHook, "terminate_module", lambda hook: stopped.append(hook))
    operator.execute({})  # type: ignore[typeddict-item]

    assert len(stopped) == 1
