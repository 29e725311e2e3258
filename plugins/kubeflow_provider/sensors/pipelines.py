"""Waits for pipeline runs that somebody else has started."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context

from kubeflow_provider.access import was_accepted
from kubeflow_provider.compat import AirflowSensorTimeout, AirflowSkipException, conf
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.links import XCOM_RUN_URL, PipelineRunLink
from kubeflow_provider.operators._base import ServiceOperator
from kubeflow_provider.operators._runs.failure import failure
from kubeflow_provider.operators._runs.outputs import leave_outputs
from kubeflow_provider.outages import wait_out
from kubeflow_provider.services import PipelineService
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.pipelines import FollowedRunTrigger, how_it_ended


class PipelineRunSensor(ServiceOperator, BaseSensorOperator):
    """Wait until a run has succeeded that somebody else has started; another end fails the task, or skips it.

    XCom: ``run_url``, and ``outputs`` where the service tells them.

    The run is never stopped: neither by a mark, nor when the time is over. What is common to Airflow's sensors
    (``timeout``, ``poke_interval``, ``mode``, ``soft_fail`` …) is as usual.

    :param run_id: the run. Templated.
    :param pipelines_conn_id: Airflow connection of the pipeline service. Templated.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param max_poll_errors: deferred, so many failed questions in a row fail the task.
    """

    template_fields: Sequence[str] = ("run_id", "pipelines_conn_id")
    operator_extra_links = (PipelineRunLink(),)
    ui_color = "#d6e6ff"

    def __init__(
        self,
        *,
        run_id: str,
        pipelines_conn_id: str = "kubeflow_pipelines_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_poll_errors: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.pipelines_conn_id = pipelines_conn_id
        self.deferrable = deferrable
        self.max_poll_errors = max_poll_errors
        self._service: PipelineService | None = None

    def poke(self, context: Context) -> bool:
        """Ask for the run once."""
        self._service = service = get_pipeline_service(self.pipelines_conn_id)
        run = wait_out(lambda: service.get_run(self.run_id))
        if run is None:
            raise InvalidRequestError(f"There is no pipeline run {self.run_id}, or none any more.")
        context["ti"].xcom_push(XCOM_RUN_URL, run.url)
        self.log.info("Pipeline run %s is %s.", self.run_id, run.state.value)
        if run.state.is_terminal and not run.state.is_successful:
            self._fail({"outcome": WaitOutcome.OVER, "run_id": self.run_id, **how_it_ended(run)}, service)
        if run.state.is_successful:
            leave_outputs(context, run.outputs)
        return run.state.is_successful

    def execute(self, context: Context) -> Any:
        """Wait, or ask once and defer."""
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            self.defer(
                trigger=FollowedRunTrigger(
                    run_id=self.run_id,
                    conn_id=self.pipelines_conn_id,
                    deadline=datetime.now(tz=UTC) + timedelta(seconds=self.timeout),
                    poll_interval_seconds=self.poke_interval,
                    max_poll_errors=self.max_poll_errors,
                    was_accepted=was_accepted(self._service),
                ),
                method_name="execute_complete",
            )
        return None

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Go on with what the trigger has found out."""
        raise_for_error(event)
        if event["outcome"] == WaitOutcome.TIMEOUT:
            raise AirflowSensorTimeout(f"Pipeline run {event['run_id']} goes on after {self.timeout:.0f} s of waiting.")
        if not RunState(event["state"]).is_successful:
            self._fail(event, get_pipeline_service(self.pipelines_conn_id))
        leave_outputs(context, event.get("outputs"))

    def _fail(self, event: dict[str, Any], service: PipelineService) -> None:
        error = failure(event, service, timeout=timedelta(seconds=self.timeout))
        if self.soft_fail:
            raise AirflowSkipException(str(error)) from error
        raise error
