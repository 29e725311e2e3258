"""What a pipeline run that did not succeed means for its task."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from kubeflow_provider.exceptions import (
    KubeflowProviderError,
    RunCancelledError,
    RunFailedError,
    RunTimeoutError,
)
from kubeflow_provider.services import PipelineService
from kubeflow_provider.states import RunState
from kubeflow_provider.triggers.base import WaitOutcome


def out_of_sight(run_id: str, message: str) -> str:
    """Return what to tell when a run could not be asked about any longer.

    :param run_id: the run.
    :param message: what kept it from being asked about.
    """
    return (
        f"Pipeline run {run_id} is out of sight: {message} The run itself goes on. A retry of this task picks it up; "
        "clearing the task stops it and starts a new one."
    )


def interrupted(run_id: str) -> KubeflowProviderError:
    """Return the error of a task that Airflow has stopped; the task's own retries decide what follows."""
    return KubeflowProviderError(
        f"Airflow has stopped this task, and with it pipeline run {run_id}. A retry starts a new run."
    )


def failure(event: Mapping[str, Any], service: PipelineService, *, timeout: timedelta) -> RunFailedError:
    """Return the error for a run that did not succeed; one whose time is over is cancelled first.

    :param event: payload of the trigger's event.
    :param service: where the run is.
    :param timeout: how long it was given.
    """
    run_id: str = event["run_id"]
    if event["outcome"] == WaitOutcome.TIMEOUT:
        if not _is_started(event, service):
            return RunTimeoutError(
                f"Pipeline run {run_id} was not started within {timeout}: no triggerer had room for its task, or none "
                "ran. Give the triggerer more of it ([triggerer] capacity), or the task a longer `timeout`.",
                run_id=run_id,
            )
        service.terminate_run(run_id)
        return RunTimeoutError(
            f"Pipeline run {run_id} was not over after {timeout} and has been cancelled. Give the task a "
            f"longer `timeout`, or the run less to do.{_log(service, run_id)}",
            run_id=run_id,
        )
    where = f" Its page: {event['url']}" if event.get("url") else ""
    state = RunState(event["state"])
    if state is RunState.CANCELED:
        return RunCancelledError(
            f"Pipeline run {run_id} was cancelled. Clear the task for a new run.{where}", run_id=run_id
        )
    reason = str(event["reason"] or "no reason was given").rstrip(".")
    step = f" in step {event['failed_step']!r}" if event["failed_step"] else ""
    return RunFailedError(
        f"Pipeline run {run_id} ended as {state.value}{step}: {reason}.{where}{_log(service, run_id)}",
        run_id=run_id,
    )


def _is_started(event: Mapping[str, Any], service: PipelineService) -> bool:
    """Say whether there is a run; Airflow ends a deferral of itself, and its event knows nothing."""
    if "is_started" in event:
        return bool(event["is_started"])
    return service.get_run(event["run_id"]) is not None


def _log(service: PipelineService, run_id: str) -> str:
    try:
        log = service.get_run_log(run_id)
    except KubeflowProviderError as error:
        return f"\nIts log could not be read: {error}"  # what happened to the run is what counts
    return f"\nThe last lines of its log:\n{log}" if log else ""
