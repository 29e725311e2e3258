"""Recurring runs. Nothing runs by their schedules here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from tests.doubles.kfp_server.api import Api
from tests.doubles.kfp_server.checks import check_parameters, check_request, page, public
from tests.doubles.kfp_server.cron import parse_cron
from tests.doubles.kfp_server.errors import INTERNAL, INVALID_ARGUMENT, NOT_FOUND, ApiError
from tests.doubles.kfp_server.transport import Request
from tests.doubles.kfp_server.values import timestamp, without_zero_values

#: In a single-user server everything is where the server itself is, and here it says so.
_POD_NAMESPACE = "kubeflow"
_KEYS = {"id", "recurring_run_id", "name", "display_name", "created_at", "updated_at", "description"}
_FAILED = "Failed to create a recurring run"


def create_recurring_run(api: Api, request: Request) -> Any:
    body = check_request(request.body, "V2beta1RecurringRun", version=api.version)
    _check(body)
    experiment_id = body.get("experiment_id", "")
    if not experiment_id:
        if api.multi_user:
            raise ApiError(INVALID_ARGUMENT, "Experiment id can not be empty in multi-user mode", chain=_FAILED)
        experiment_id = api.default_experiment()
    namespace = api.existing(api.experiments, experiment_id, "Experiment").get("namespace", "")
    if body.get("namespace") and body["namespace"] != namespace:
        words = f"Experiment {experiment_id} belongs to namespace '{namespace}' instead of '{body['namespace']}'"
        raise ApiError(INVALID_ARGUMENT, words, chain=_FAILED)
    api.authorize(namespace, "create", "jobs")
    source, is_pinned = _source(api, body)
    # As in the real server: Kubernetes has the schedule before the row can be written. The id is Kubernetes' own.
    recurring_run_id = str(uuid4())
    api.scheduled_workflows.add(recurring_run_id)
    if len(body.get("description", "")) > 255:
        raise ApiError(INTERNAL, "Error 1406: Data too long for column 'Description'", chain=_FAILED)
    default_account = ("default-editor" if api.multi_user else "pipeline-runner") if is_pinned else ""
    now = timestamp(time.time())
    row = without_zero_values(
        {
            "recurring_run_id": recurring_run_id,
            "display_name": body["display_name"],
            "description": body.get("description", ""),
            **source,
            "runtime_config": without_zero_values(body.get("runtime_config", {})),
            "service_account": body.get("service_account") or default_account,
            "max_concurrency": body["max_concurrency"],
            "trigger": body.get("trigger", {}),
            "no_catchup": body.get("no_catchup", False),
            "created_at": now,
            "updated_at": now,
            "namespace": namespace or _POD_NAMESPACE,
            "experiment_id": experiment_id,
            "_namespace": namespace,
        }
    )
    # Whoever does not say in which mode gets one that starts nothing.
    _switch(row, is_enabled=body.get("mode") == "ENABLE")
    api.recurring_runs[recurring_run_id] = row
    return public(row)


def get_recurring_run(api: Api, request: Request, recurring_run_id: str) -> Any:
    return public(_row(api, recurring_run_id, "get"))


def list_recurring_runs(api: Api, request: Request) -> Any:
    rows = list(api.recurring_runs.values())
    if experiment_id := request.query.get("experiment_id", ""):
        namespace = api.existing(api.experiments, experiment_id, "Experiment").get("namespace", "")
        rows = [row for row in rows if row["experiment_id"] == experiment_id]
    else:
        namespace = request.query.get("namespace", "")
    namespace = api.authorize(namespace, "list", "jobs")
    rows = [row for row in rows if not api.multi_user or row["_namespace"] == namespace]
    # The one list that is not in snake case.
    return page("recurringRuns", rows, request.query, _KEYS)


def enable_recurring_run(api: Api, request: Request, recurring_run_id: str) -> Any:
    return _change_mode(api, recurring_run_id, "enable")


def disable_recurring_run(api: Api, request: Request, recurring_run_id: str) -> Any:
    return _change_mode(api, recurring_run_id, "disable")


def delete_recurring_run(api: Api, request: Request, recurring_run_id: str) -> Any:
    _row(api, recurring_run_id, "delete")
    del api.recurring_runs[recurring_run_id]
    api.scheduled_workflows.discard(recurring_run_id)
    return {}


def _row(api: Api, recurring_run_id: str, verb: str) -> dict[str, Any]:
    row = api.recurring_runs.get(recurring_run_id)
    if row is None:
        raise ApiError(NOT_FOUND, f"Job {recurring_run_id} not found.", chain="ResourceNotFoundError")
    api.authorize(row.get("_namespace", ""), verb, "jobs")
    return row


def _change_mode(api: Api, recurring_run_id: str, verb: str) -> Any:
    row = _row(api, recurring_run_id, verb)
    if recurring_run_id not in api.scheduled_workflows:
        # Somebody has deleted it in Kubernetes; the row stays.
        raise ApiError(INTERNAL, f"scheduledworkflows.kubeflow.org {row['display_name']!r} not found")
    _switch(row, is_enabled=verb == "enable")
    row["updated_at"] = timestamp(time.time())
    return {}


def _switch(row: dict[str, Any], *, is_enabled: bool) -> None:
    row |= {"mode": "ENABLE", "status": "ENABLED"} if is_enabled else {"mode": "DISABLE", "status": "DISABLED"}


def _check(body: Mapping[str, Any]) -> None:
    if not body.get("display_name"):
        raise ApiError(INTERNAL, "Recurring run's name cannot be empty", chain=_FAILED)
    most = int(body.get("max_concurrency", 0))
    if not 1 <= most <= 10:
        words = f"Max concurrency of a recurring run must be at least 1 and at most 10. Received {most}"
        raise ApiError(INVALID_ARGUMENT, words, chain=_FAILED)
    trigger = body.get("trigger", {})
    if cron := trigger.get("cron_schedule"):
        try:
            parse_cron(cron.get("cron", ""))
        except ValueError as error:
            words = "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: "
            raise ApiError(INVALID_ARGUMENT, f"{words}{error}", chain=_FAILED) from error
    if (periodic := trigger.get("periodic_schedule")) is not None:
        interval = int(periodic.get("interval_second", 0))
        if interval < 1:
            words = f"Found invalid period schedule interval {interval}. Set at interval to least 1 second"
            raise ApiError(INVALID_ARGUMENT, words, chain=_FAILED)


def _source(api: Api, body: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return what a row shows of its pipeline, and whether all runs have the same one."""
    parameters = body.get("runtime_config", {}).get("parameters", {})
    reference = body.get("pipeline_version_reference", {})
    is_pinned = bool(body.get("pipeline_spec") or reference.get("pipeline_version_id"))
    if not is_pinned:
        if not (pipeline_id := reference.get("pipeline_id")):
            raise ApiError(INTERNAL, "Cannot create a job with an empty pipeline ID", chain=_FAILED)
        versions = [row for row in api.versions.values() if row["pipeline_id"] == pipeline_id]
        api.existing(api.pipelines, pipeline_id, "Pipeline")
        if not versions:
            raise ApiError(NOT_FOUND, f"PipelineVersion {pipeline_id} not found.", chain="ResourceNotFoundError")
        if api.version < (2, 5):
            # Each run has the version that is the newest now; later servers look for it at each run.
            reference = {"pipeline_id": pipeline_id, "pipeline_version_id": versions[-1]["pipeline_version_id"]}
    check_parameters(api.source(body)[0], parameters)
    if spec := body.get("pipeline_spec"):
        return {"pipeline_spec": spec}, True
    return {"pipeline_version_reference": dict(reference)}, "pipeline_version_id" in reference
