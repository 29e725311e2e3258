"""A function that returns the parameters of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk import task as decorators

from kubeflow_provider.compat import TaskDeferred
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import kubeflow_pipelines
from kubeflow_provider.operators.pipelines import RunPipelineOperator
from kubeflow_provider.triggers.pipelines import PipelineRunTrigger
from tests.doubles.kfp_server import KfpServer
from tests.kubeflow_provider.operators.on_kubeflow.kubeflow_task import RUNNING, Task


class Function:
    """Counts its calls."""

    __name__ = "function"

    def __init__(self, returned: Any = None) -> None:
        self.calls: list[Any] = []
        self.returned = {"file": "somewhere"} if returned is None else returned

    def __call__(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        return self.returned


def operator_of(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the operator of a call of the decorated function, as a new process has it."""
    kubeflow_pipelines._TERMINATED.clear()
    options = {"task_id": "train", "poll_interval_seconds": 0.01, "display_name": "reviews 1", **options}
    return decorators.kubeflow_pipeline(**options)(function)(*arguments).operator


@pytest.fixture
def train(task: Task, record_and_wait: str) -> Callable[..., str]:
    """Return ``train(function, **options)``, one try of the task."""

    def train(function: Callable[..., Any], **options: Any) -> str:
        operator = operator_of(function, pipeline_file=record_and_wait, **options)
        return str(operator.execute(task.context()))

    return train


def test_what_the_function_returns_is_checked_and_cast(server: KfpServer, train: Callable[..., str]) -> None:
    with pytest.raises(InvalidRequestError, match="fiel: unknown"):
        train(Function({"fiel": "f"}))

    run_id = train(Function({"file": 20261121, "seconds": "1.5"}))

    assert server.runs[run_id].runtime_config["parameters"] == {"file": "20261121", "seconds": 1.5}


def test_the_function_may_ask_for_its_context(task: Task, record_and_wait: str, server: KfpServer) -> None:
    def function(name: str, ti: Any, *, dag_run: Any = None, **others: Any) -> dict[str, Any]:
        assert dag_run.start_date
        assert "task_state_store" in others
        return {"file": f"{name} of {ti.dag_id}"}

    operator = operator_of(function, "train", pipeline_file=record_and_wait)

    assert server.runs[operator.execute(task.context())].runtime_config["parameters"] == {"file": "train of releases"}


def test_a_deferred_task_calls_its_function_once(
    server: KfpServer, task: Task, train: Callable[..., str], record_and_wait: str
) -> None:
    function = Function()
    with pytest.raises(TaskDeferred) as deferred:
        train(function, deferrable=True)
    _, arguments = deferred.value.trigger.serialize()
    event = asyncio.run(PipelineRunTrigger(**arguments).wait())

    resumed = operator_of(function, pipeline_file=record_and_wait, deferrable=True)

    assert resumed.resume_execution(deferred.value.method_name, {"event": event}, task.context()) in server.runs
    assert len(function.calls) == 1


def test_a_run_that_is_picked_up_has_its_parameters_already(
    server: KfpServer, task: Task, train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    function = Function()
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(RunPipelineOperator, "_go_on", lambda *_: (_ for _ in ()).throw(SystemExit))
        train(function)

    train(function)

    assert (len(function.calls), len(server.runs)) == (1, 1)


def test_a_run_that_never_came_to_be_gets_its_parameters_anew(
    server: KfpServer, task: Task, train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    function = Function()
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(RunPipelineOperator, "_start", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        train(function)

    assert train(function) == task.run_id
    assert (len(function.calls), len(server.runs)) == (2, 1)


def test_a_cleared_task_calls_its_function_anew(server: KfpServer, task: Task, train: Callable[..., str]) -> None:
    server.script(None, [RUNNING])
    function = Function()
    train(function, wait_for_completion=False)
    task.max_tries = 1
    train(function, wait_for_completion=False)

    assert (len(function.calls), len(server.runs)) == (2, 2)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ([("file", "f")], "'function' of task 'train' returned list: a mapping"),
        ("file", "returned str: a mapping"),
        ({1: "f"}, "keys that are no text, and so no names of parameters: \\[1\\]"),
    ],
)
def test_what_is_no_mapping_is_refused_before_anything_is_asked_for(
    server: KfpServer, task: Task, train: Callable[..., str], returned: Any, words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        train(Function(returned))
    assert (server.runs, task.store) == ({}, {})


def test_a_function_that_returns_nothing_is_told_what_is_expected(train: Callable[..., str]) -> None:
    def forgetful() -> None:
        """Forget to return."""

    with pytest.raises(InvalidRequestError, match=r"'forgetful' .* returned NoneType: .* \{\} for none"):
        train(forgetful)


@pytest.mark.parametrize("is_native", [False, True])
def test_arguments_are_rendered_and_what_is_returned_is_not(
    server: KfpServer, task: Task, record_and_wait: str, is_native: bool
) -> None:
    function = Function({"file": "{{ ds }}"})
    with DAG("a_dag", render_template_as_native_obj=is_native):
        operator = operator_of(
            function, "{{ ds }}", "{{ numbers }}", pipeline_file=record_and_wait, experiment="{{ ds }}"
        )
    operator.render_template_fields({"ds": "2026-11-21", "numbers": [1, 2]})
    run_id = operator.execute(task.context())

    assert function.calls == [("2026-11-21", [1, 2] if is_native else "[1, 2]")]
    assert server.runs[run_id].runtime_config["parameters"] == {"file": "{{ ds }}"}
    assert operator.experiment == "2026-11-21"


def test_a_mapping_is_no_set_of_outputs() -> None:
    def function() -> dict[str, Any]:
        return {}

    assert operator_of(function, pipeline="reviews").multiple_outputs is False


def test_what_only_the_function_says_is_not_taken_from_elsewhere() -> None:
    async def function() -> dict[str, Any]:
        return {}

    with pytest.raises(ValueError, match=r"@task.kubeflow_pipeline takes no parameters: function returns them"):
        operator_of(Function(), pipeline="reviews", parameters={})
    with pytest.raises(ValueError, match="cannot await function: write it with def"):
        operator_of(function, pipeline="reviews")
    with pytest.raises(ValueError, match="exactly one of pipeline_file"):
        operator_of(Function())


def test_each_of_several_values_has_a_task_of_its_own() -> None:
    def function(name: str, of: str) -> dict[str, Any]:
        return {"name": name + of}

    with DAG("a_dag"):
        mapped = (
            decorators.kubeflow_pipeline(pipeline="hello")(function).partial(of="!").expand(name=["a", "b"]).operator
        )

    operator = mapped.unmap({"op_kwargs": {"name": "b"}})

    assert isinstance(operator, RunPipelineOperator)
    assert operator.run_parameters({}) == {"name": "b!"}
