"""Waits for InferenceServices that somebody else has applied."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context

from kubeflow_provider.access import was_accepted
from kubeflow_provider.compat import AirflowSensorTimeout, AirflowSkipException, conf
from kubeflow_provider.exceptions import DeploymentFailedError
from kubeflow_provider.operators._waiting import OnKServe, check_ready
from kubeflow_provider.outages import wait_out
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.inference_services import InferenceServiceTrigger


class InferenceServiceSensor(OnKServe, BaseSensorOperator):
    """Wait until an InferenceService is ready, whoever has applied it; one that cannot become so fails at once.

    Ready is what stands in its spec now. By what others apply its pods are not known, so KServe is given five seconds
    to see such a change. One that is not there yet is waited for. What is common to Airflow's sensors (``timeout``,
    ``poke_interval``, ``mode``, ``soft_fail`` …) is as usual.

    :param name: of the InferenceService. Templated.
    :param kserve_conn_id: Airflow connection, of type ``kserve``. Templated.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param max_poll_errors: deferred, so many failed questions in a row fail the task.
    """

    template_fields: Sequence[str] = ("name", "kserve_conn_id")
    ui_color = "#e6dcf5"

    def __init__(
        self,
        *,
        name: str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_poll_errors: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.deferrable = deferrable
        self.max_poll_errors = max_poll_errors

    def poke(self, context: Context) -> bool:
        """Ask for it once."""
        services = self.hook().inference_services
        found = wait_out(lambda: services.get(self.name))
        if found is None:
            self.log.info("There is no InferenceService %s yet.", self.name)
            return False
        self.log.info("InferenceService %s is %s. %s", self.name, found.state.value, found.reason or "")
        if found.state is DeploymentState.FAILED:
            facts = {"name": self.name, "state": found.state.value, "reason": found.reason}
            self._check({"outcome": WaitOutcome.OVER, **facts})
        return found.state is DeploymentState.READY

    def execute(self, context: Context) -> Any:
        """Wait, or ask once and defer."""
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            self.defer(
                trigger=InferenceServiceTrigger(
                    name=self.name,
                    must_exist=False,
                    conn_id=self.kserve_conn_id,
                    deadline=datetime.now(tz=UTC) + timedelta(seconds=self.timeout),
                    poll_interval_seconds=self.poke_interval,
                    max_poll_errors=self.max_poll_errors,
                    was_accepted=was_accepted(self.hook()),
                ),
                method_name="execute_complete",
            )
        return None

    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Go on with what the trigger has found out."""
        raise_for_error(event)
        if event["outcome"] == WaitOutcome.TIMEOUT:
            why = event.get("reason") or "nobody says why"
            raise AirflowSensorTimeout(
                f"InferenceService {event['name']} is not ready after {self.timeout:.0f} s: {why}"
            )
        self._check(event)

    def _check(self, event: dict[str, Any]) -> None:
        try:
            check_ready(event, timeout=timedelta(seconds=self.timeout))
        except DeploymentFailedError as error:
            if self.soft_fail:
                raise AirflowSkipException(str(error)) from error
            raise
