"""What the operators of the package make of their templates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.pipelines.spec import bind

#: What templates may ask for.
CONTEXT = {"number": 1000, "text": "1_000", "options": {"unit": "mm", "ids": (1, 2)}, "nothing": None}


def rendered(parameters: dict[str, Any], *, is_native: bool, is_mapped: bool = False) -> RunPipelineOperator:
    with DAG("pipelines", render_template_as_native_obj=is_native) as dag:
        arguments: dict[str, Any] = {
            "task_id": "run",
            "pipeline_file": "/pipelines/{{ number }}.yaml",
            "display_name": "{{ text }}",
            "experiment": "1_000",
        }
        if not is_mapped:
            task: Any = RunPipelineOperator(parameters=parameters, **arguments)
        else:
            task = RunPipelineOperator.partial(**arguments).expand(parameters=[parameters])
    ti = SimpleNamespace(map_index=0, task=task, run_id="manual")
    context: dict[str, Any] = CONTEXT | {"ti": ti, "dag": dag, "dag_run": SimpleNamespace(conf={})}
    task.render_template_fields(context)
    operator: RunPipelineOperator = ti.task
    return operator


@pytest.mark.parametrize("is_mapped", [False, True])
@pytest.mark.parametrize(
    ("written", "native", "text"),
    [
        ("1_000", "1_000", "1_000"),
        ("10_000", "10_000", "10_000"),
        ("1.10", "1.10", "1.10"),
        ("00", "00", "00"),
        ("0x10", "0x10", "0x10"),
        ("'quoted'", "'quoted'", "'quoted'"),
        ("None", "None", "None"),
        ("", "", ""),
        ("{{ text }}", "1_000", "1_000"),
        ("{{ text }}_000", "1_000_000", "1_000_000"),
        ("{{ number }}", 1000, "1000"),
        ("{{ nothing }}", None, "None"),
        ("{{ options }}", {"unit": "mm", "ids": (1, 2)}, "{'unit': 'mm', 'ids': (1, 2)}"),
        (["1_000", "{{ number }}"], ["1_000", 1000], ["1_000", "1000"]),
        ({"a": {"b": "1_000"}}, {"a": {"b": "1_000"}}, {"a": {"b": "1_000"}}),
    ],
)
def test_a_dag_that_renders_native_objects_leaves_text_as_it_is(
    written: Any, native: Any, text: Any, is_mapped: bool
) -> None:
    for is_native, expected in ((True, native), (False, text)):
        task = rendered({"value": written}, is_native=is_native, is_mapped=is_mapped)

        value = task.parameters["value"]
        assert (value, type(value)) == (expected, type(expected))
        assert task.pipeline_file == "/pipelines/1000.yaml"
        assert (task.display_name, task.experiment) == ("1_000", "1_000")


def test_what_templates_give_is_cast_to_what_the_pipeline_declares(record_and_wait: str) -> None:
    parameters = {"file": "{{ text }}", "repeat": "{{ text }}", "seconds": "1_0.5", "mark": "{{ options }}"}

    spec = read_pipeline_spec(record_and_wait)
    bound = [bind(spec, rendered(parameters, is_native=is_native).parameters) for is_native in (True, False)]

    expected = {"file": "1_000", "repeat": 1000, "seconds": 10.5, "mark": {"unit": "mm", "ids": [1, 2]}}
    assert bound == [expected, expected]
