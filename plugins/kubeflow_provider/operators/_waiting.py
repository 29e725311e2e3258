"""Waiting for an InferenceService, in a worker or in the triggerer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context

from kubeflow_provider.access import was_accepted
from kubeflow_provider.compat import conf
from kubeflow_provider.exceptions import DeploymentFailedError, ServiceUnavailableError
from kubeflow_provider.hooks import get_serving_service
from kubeflow_provider.hooks.kserve import KServeHook
from kubeflow_provider.operators._base import ServiceOperator
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.inference_services import InferenceServiceTrigger, Until, as_kserve

#: So much longer than its trigger Airflow waits for a deferred task: no triggerer may have had room for it.
_DEFER_BUFFER = timedelta(minutes=30)


class OnKServe(ServiceOperator):
    """A task for InferenceServices.

    :param kserve_conn_id: Airflow connection, of type ``kserve``. Templated.
    """

    def __init__(self, *, kserve_conn_id: str = KServeHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kserve_conn_id = kserve_conn_id

    def hook(self) -> KServeHook:
        """Return the hook of the connection.

        :raises InvalidRequestError: when that is of another type.
        """
        return as_kserve(get_serving_service(self.kserve_conn_id), self.kserve_conn_id)


class WaitingOperator(OnKServe):
    """A task that changes an InferenceService, and waits for what becomes of it.

    :param wait_for_completion: ``False`` ends the task as soon as Kubernetes has taken the change.
    :param timeout: how long is waited; the InferenceService stays as it is afterwards.
    :param deferrable: wait in the triggerer, without a worker slot. Default: ``[operators] default_deferrable``.
    :param poll_interval_seconds: longest pause between two questions, in seconds.
    :param max_poll_errors: so many failed questions in a row fail the task.
    """

    def __init__(
        self,
        *,
        wait_for_completion: bool = True,
        timeout: timedelta = timedelta(minutes=30),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval_seconds: float = 10,
        max_poll_errors: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wait_for_completion = wait_for_completion
        self.timeout = timeout
        self.deferrable = deferrable
        self.poll_interval_seconds = poll_interval_seconds
        self.max_poll_errors = max_poll_errors

    def wait(self, context: Context, hook: KServeHook, name: str, until: Until) -> Any:
        """Wait here, or leave that to the triggerer."""
        trigger = InferenceServiceTrigger(
            name=name,
            until=until,
            conn_id=self.kserve_conn_id,
            # Airflow itself does not mind ``execution_timeout`` while a task is deferred.
            deadline=datetime.now(tz=UTC) + min(self.timeout, self.execution_timeout or self.timeout),
            poll_interval_seconds=self.poll_interval_seconds,
            max_poll_errors=self.max_poll_errors,
            was_accepted=was_accepted(hook),
        )
        if self.deferrable:
            self.defer(trigger=trigger, method_name="execute_complete", timeout=self.timeout + _DEFER_BUFFER)
        return self.execute_complete(context, asyncio.run(trigger.wait()))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on with what the trigger has found out."""
        raise NotImplementedError


def check_ready(event: dict[str, Any], *, timeout: timedelta) -> None:
    """Raise unless an InferenceService is ready.

    :param event: payload of the trigger's event.
    :param timeout: how long was waited.
    :raises DeploymentFailedError: why it is not.
    """
    raise_for_error(event)
    name = event["name"]
    if event["outcome"] == WaitOutcome.TIMEOUT:
        raise DeploymentFailedError(
            f"InferenceService {name} was not ready within {timeout}: {event.get('reason') or 'nobody says why'}. It "
            "stays as it is; give the task a longer `timeout` if it only takes its time."
        )
    if DeploymentState(event["state"]) is not DeploymentState.READY:
        raise DeploymentFailedError(f"InferenceService {name} does not become ready: {event['reason']}")


def check_gone(event: dict[str, Any], *, timeout: timedelta) -> None:
    """Raise unless an InferenceService is gone.

    :param event: payload of the trigger's event.
    :param timeout: how long was waited.
    """
    raise_for_error(event)
    if event["outcome"] == WaitOutcome.TIMEOUT:
        raise ServiceUnavailableError(
            f"InferenceService {event['name']} is still there {timeout} after it was deleted. Look for a finalizer of "
            "it, and whether KServe's controller runs."
        )
