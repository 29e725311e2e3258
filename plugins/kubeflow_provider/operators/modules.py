"""Runs one module of the pipeline half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context

from kubeflow_provider.compat import conf
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.operators._base import ServiceOperator
from kubeflow_provider.operators.cancelling import cancel_from_signal_handler
from kubeflow_provider.outages import wait_out
from kubeflow_provider.services import PipelineService
from kubeflow_provider.triggers.base import raise_for_error
from kubeflow_provider.triggers.modules import ModulePodTrigger

#: How long a pod may take to get a node, and an image, on top of its own time; after that its trigger gives it up.
_TO_START = timedelta(minutes=30)


class RunModuleOperator(ServiceOperator):
    """Run one module of the pipeline half in its environment and wait for it, with its output in the task log.

    Where it runs in a pod, a deferrable task leaves that to its trigger and has a worker slot only to prepare it and to
    tell what became of it; the output comes at the end. On one machine the module is a process of the task itself: the
    slot is what limits how many of them run at once, and the task has it to the end.

    :param module: dotted name, for example ``include.classifier.preprocess``. Templated.
    :param arguments: argument name without dashes -> value; an empty value leaves the argument out. Templated.
    :param cluster: image, storage and scheduling in a cluster, see :class:`RunRequest`; other services have no use
        for it. Templated.
    :param timeout: the module is stopped after this time.
    :param deferrable: wait in the triggerer where that is possible. Default: ``[operators] default_deferrable``.
    :param poll_interval_seconds: longest pause between two questions of the triggerer.
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
        pipelines_conn_id: str = "kubeflow_pipelines_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval_seconds: float = 30,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments or {}
        self.cluster = cluster or {}
        self.timeout = timeout
        self.pipelines_conn_id = pipelines_conn_id
        self.deferrable = deferrable
        self.poll_interval_seconds = poll_interval_seconds
        self._service: PipelineService | None = None

    def execute(self, context: Context) -> None:
        """Run the module, or have it run by the trigger."""
        if wrong := sorted(name for name, value in self.arguments.items() if not isinstance(value, str)):
            raise InvalidRequestError(f"Arguments of {self.module} must be text; these are not: {', '.join(wrong)}.")
        service = get_pipeline_service(self.pipelines_conn_id)
        call: dict[str, Any] = {"timeout_seconds": self.timeout.total_seconds(), "cluster": self.cluster}
        prepared = service.prepare_module(self.module, self.arguments, **call) if self.deferrable else None
        if prepared is not None:
            self.defer(
                trigger=ModulePodTrigger(
                    pod=prepared.pod,
                    conn_id=prepared.kubernetes_conn_id,
                    deadline=datetime.now(tz=UTC) + self.timeout + _TO_START,
                    poll_interval_seconds=self.poll_interval_seconds,
                ),
                method_name="execute_complete",
                timeout=self.timeout + 2 * _TO_START,
            )
        wait_out(lambda: self._run(service))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Tell what became of it, and take it away."""
        raise_for_error(event)
        service = get_pipeline_service(self.pipelines_conn_id)
        wait_out(lambda: self._run(service, is_prepared=True))

    def _run(self, service: PipelineService, **options: Any) -> None:
        self._service = service
        timeout_seconds = self.timeout.total_seconds()
        service.run_module(
            self.module, self.arguments, timeout_seconds=timeout_seconds, cluster=self.cluster, **options
        )

    def on_kill(self) -> None:
        """Stop the module."""
        if self._service:
            cancel_from_signal_handler(self._service.terminate_module)
