"""What says which pipeline a task runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG, XComArg
from airflow.sdk import task as decorators

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.operators.kept_runs import UploadPipelineOperator
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.services import PipelineService
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import Task


@pytest.fixture
def service(task: Task) -> PipelineService:
    return get_pipeline_service("kubeflow_pipelines_default")


def run(task: Task, server: KfpServer, **arguments: Any) -> Any:
    """Run the task to its end and return its row on the server."""
    return server.runs[task.run(pipeline_file=None, **arguments)]


@pytest.mark.parametrize("version", [None, "", "newest"])
def test_what_the_server_keeps(
    server: KfpServer, task: Task, service: Any, record_and_wait: str, version: str | None
) -> None:
    reference = service.upload_pipeline(read_pipeline_spec(record_and_wait))
    named = version if version != "newest" else reference["pipeline_version_id"]

    row = run(task, server, pipeline="record-and-wait", pipeline_version=named, parameters={"file": 20261121})

    assert row.reference == reference
    assert row.runtime_config["parameters"] == {"file": "20261121"}, (
        "cast to the type that the server's version declares"
    )


def test_parameters_are_checked_against_what_the_server_keeps(
    server: KfpServer, task: Task, service: Any, record_and_wait: str
) -> None:
    service.upload_pipeline(read_pipeline_spec(record_and_wait))

    with pytest.raises(InvalidRequestError, match=r"do not fit pipeline record-and-wait, version .*: fiel: unknown"):
        run(task, server, pipeline="record-and-wait", parameters={"fiel": "f"})
    assert (server.runs, task.store) == ({}, {})


@pytest.mark.parametrize("is_text", [False, True])
def test_what_only_the_run_has(server: KfpServer, task: Task, record_and_wait: str, is_text: bool) -> None:
    text = Path(record_and_wait).read_text(encoding="utf-8")

    row = run(task, server, pipeline_spec=text if is_text else yaml.safe_load(text))

    assert row.pipeline_spec == yaml.safe_load(text)
    assert server.api.pipelines == {}


def test_a_run_under_way_is_picked_up_whatever_has_become_of_its_pipeline(
    server: KfpServer, task: Task, service: Any, record_and_wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.upload_pipeline(read_pipeline_spec(record_and_wait))
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(RunPipelineOperator, "_go_on", lambda *_: (_ for _ in ()).throw(SystemExit))
        run(task, server, pipeline="record-and-wait")
    server.api.pipelines.clear()

    assert run(task, server, pipeline="record-and-wait").run_id == next(iter(server.runs))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "exactly one"),
        ({"pipeline_file": "/a.yaml", "pipeline": "a"}, "exactly one"),
        ({"pipeline": "a", "pipeline_spec": {}}, "exactly one"),
        ({"pipeline_file": "/a.yaml", "pipeline_version": "1"}, "pipeline_version is that of a pipeline"),
    ],
)
def test_exactly_one_thing_says_what_runs(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RunPipelineOperator(task_id="run", **arguments)


@pytest.mark.parametrize(
    ("kind", "beside"), [(RunPipelineOperator, {"display_name": "{{ ds }}"}), (UploadPipelineOperator, {})]
)
@pytest.mark.parametrize("is_native", [False, True])
def test_placeholders_of_a_pipeline_are_no_templates(is_native: bool, kind: Any, beside: dict[str, str]) -> None:
    spec = {"command": ["{{$.inputs.parameters['file']}}", "{{$}}"]}
    with DAG("a_dag", render_template_as_native_obj=is_native):
        operators = [
            kind(task_id=name, pipeline_spec=given, pipelines_conn_id="{{ ds }}", **beside)
            for name, given in (("as_it_is", spec), ("as_text", json.dumps(spec)))
        ]
    for operator in operators:
        operator.render_template_fields({"ds": "2026-11-21"})

    assert [operator.pipeline_spec for operator in operators] == [spec, json.dumps(spec)]
    assert [operator.pipelines_conn_id for operator in operators] == ["2026-11-21"] * 2
    assert [getattr(operators[0], name) for name in beside] == ["2026-11-21"] * len(beside)


class Compiled(XComArg):
    """What another task has returned."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec

    def iter_references(self) -> Any:
        return iter(())

    def resolve(self, context: Any) -> Any:
        return self.spec


@pytest.mark.parametrize("kind", [RunPipelineOperator, UploadPipelineOperator])
def test_a_pipeline_may_be_what_another_task_returns(kind: Any, record_and_wait: str) -> None:
    @decorators
    def choose() -> dict[str, Any]:
        return {}

    with DAG("a_dag"):
        operator = kind(task_id="run", pipeline_spec=choose())
    assert operator.upstream_task_ids == {"choose"}

    spec = yaml.safe_load(Path(record_and_wait).read_text(encoding="utf-8"))
    operator.pipeline_spec = Compiled(spec)
    operator.render_template_fields({"dag": operator.dag, "run_id": "manual"})

    assert operator.pipeline_spec == spec
