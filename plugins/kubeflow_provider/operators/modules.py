"""Runs one module of the pipeline half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import Context

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.operators._base import ServiceOperator
from kubeflow_provider.operators.cancelling import cancel_from_signal_handler
from kubeflow_provider.services import PipelineService


class RunModuleOperator(ServiceOperator):
    """Run one module of the pipeline half in its environment and wait for it, with its output in the task log.

    :param module: dotted name, for example ``include.classifier.preprocess``. Templated.
    :param arguments: argument name without dashes -> value; an empty value leaves the argument out. Templated.
    :param cluster: image, storage and scheduling in a cluster, see :class:`RunRequest`; other services have no use
        for it. Templated.
    :param timeout: the module is stopped after this time.
    :param pipelines_conn_id: Airflow connection of the pipeline service. Templated.
    """

    template_fields: Sequence[str] = ("module", "arguments", "cluster", "pipelines_conn_id")
    template_fields_renderers = {"arguments": "json", "cluster": "json"}
    ui_color = "#e3f0d8"

    def __init__(
        self,
        *,
        module: str,
        arguments: Mapping[str, str] | None = None,
        cluster: Mapping[str, Any] | None = None,
        timeout: timedelta = timedelta(hours=2),
        pipelines_conn_id: str = "pipelines_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments or {}
        self.cluster = cluster or {}
        self.timeout = timeout
        self.pipelines_conn_id = pipelines_conn_id
        self._service: PipelineService | None = None

    def execute(self, context: Context) -> None:
        """Run the module."""
        if wrong := sorted(name for name, value in self.arguments.items() if not isinstance(value, str)):
            raise InvalidRequestError(f"Arguments of {self.module} must be text; these are not: {', '.join(wrong)}.")
        self._service = get_pipeline_service(self.pipelines_conn_id)
        self._service.run_module(
            self.module, self.arguments, timeout_seconds=self.timeout.total_seconds(), cluster=self.cluster
        )

    def on_kill(self) -> None:
        """Stop the module."""
        if self._service:
            cancel_from_signal_handler(self._service.terminate_module)
