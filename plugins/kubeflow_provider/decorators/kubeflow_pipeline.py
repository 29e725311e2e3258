"""Runs a pipeline with the parameters that a Python function returns: ``@task.kubeflow_pipeline``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from kubeflow_provider.compat import determine_kwargs
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.operators.pipelines import RunPipelineOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator


class KubeflowPipelineDecoratedOperator(DecoratedOperator, RunPipelineOperator):
    """Run a pipeline with the parameters that a function returns, and wait until the run is over.

    The function is called when a run is to be started, and at no other time: not when the task goes on after a
    deferral, nor when a retry picks a run up. What it returns is taken as it is, and no template in it is rendered.

    :param python_callable: returns the parameters of the run, a mapping from their names. It may ask for values of the
        task's context by their names, as that of ``@task`` may.
    :param op_args: what it is called with. Templated.
    :param op_kwargs: what it is called with by name. Templated.

    Everything else is as in :class:`~kubeflow_provider.operators.pipelines.RunPipelineOperator`; the return value of
    the task is the run id.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(field for field in RunPipelineOperator.template_fields if field != "parameters"),
    )
    template_fields_renderers = {
        **DecoratedOperator.template_fields_renderers,
        **{name: kind for name, kind in RunPipelineOperator.template_fields_renderers.items() if name != "parameters"},
    }
    custom_operator_name = "@task.kubeflow_pipeline"

    def __init__(self, *, python_callable: Callable[..., Any], **kwargs: Any) -> None:
        if "parameters" in kwargs:
            raise ValueError(
                f"{self.custom_operator_name} takes no parameters: {python_callable.__name__} returns them"
            )
        if inspect.iscoroutinefunction(python_callable):
            raise ValueError(f"{self.custom_operator_name} cannot await {python_callable.__name__}: write it with def")
        super().__init__(python_callable=python_callable, **kwargs)

    def run_parameters(self, context: Context) -> Mapping[str, Any]:
        """Call the function.

        :raises InvalidRequestError: when it returns something else than a mapping from names.
        """
        arguments: Mapping[str, Any] = {**context, **self.op_kwargs}
        arguments = determine_kwargs(self.python_callable, self.op_args, arguments)
        returned = self.python_callable(*self.op_args, **arguments)
        name = f"Function {self.python_callable.__name__!r} of task {self.task_id!r}"
        if not isinstance(returned, Mapping):
            raise InvalidRequestError(
                f"{name} returned {type(returned).__name__}: a mapping from the names of the run's parameters to their "
                "values is expected, {} for none."
            )
        if wrong := [key for key in returned if not isinstance(key, str)]:
            raise InvalidRequestError(
                f"{name} returned a mapping with keys that are no text, and so no names of parameters: {wrong!r}."
            )
        self.parameters = returned
        return returned


def kubeflow_pipeline_task(python_callable: Callable[..., Any] | None = None, **arguments: Any) -> TaskDecorator:
    """Make a function a task that runs a pipeline with the parameters that the function returns.

    :param python_callable: the function.
    :param arguments: of :class:`~kubeflow_provider.operators.pipelines.RunPipelineOperator`, but for ``parameters``.
    """
    # The function returns a mapping, and the task an id: Airflow would take the one's annotation for the other's.
    arguments |= {"multiple_outputs": False}
    return task_decorator_factory(
        python_callable, decorated_operator_class=KubeflowPipelineDecoratedOperator, **arguments
    )
