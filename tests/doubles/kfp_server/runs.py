"""Runs, and what their pods have said."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from tests.doubles.kfp_server.api import Api
from tests.doubles.kfp_server.checks import check_parameters, check_request, page
from tests.doubles.kfp_server.errors import ABORTED, INTERNAL, INVALID_ARGUMENT, ApiError
from tests.doubles.kfp_server.state import RunRow
from tests.doubles.kfp_server.transport import Request, Response

_RUN_KEYS = {"id", "run_id", "display_name", "created_at", "finished_at", "description", "storage_state", "state"}


def list_runs(api: Api, request: Request) -> Any:
    experiment_id = request.query.get("experiment_id", "")
    if experiment_id:
        namespace = api.existing(api.experiments, experiment_id, "Experiment").get("namespace", "")
    else:
        namespace = request.query.get("namespace", "")
    namespace = api.authorize(namespace, "list", "runs")
    rows = [row for row in api.runs.values() if row.namespace == namespace]
    if experiment_id:
        rows = [row for row in rows if row.experiment_id == experiment_id]
    for row in rows:
        row.sync()
    keys = [row.keys() | {"_row": row} for row in rows]
    return page("runs", keys, request.query, _RUN_KEYS, show=lambda key: key["_row"].document())


def get_run(api: Api, request: Request, run_id: str) -> Any:
    run = api.run(run_id, "get")
    run.next_of_script()
    return run.document(is_full=request.query.get("view") == "FULL")


def create_run(api: Api, request: Request) -> Any:
    body = check_request(request.body, "V2beta1Run", version=api.version)
    if not body.get("display_name"):
        raise ApiError(INTERNAL, "The run name is empty. Please specify a valid name", chain="InternalServerError")
    experiment_id = body.get("experiment_id", "")
    if not experiment_id:
        if api.multi_user:
            raise ApiError(INVALID_ARGUMENT, "Experiment id can not be empty", chain="Failed to create a new run")
        experiment_id = api.default_experiment()
    experiment = api.existing(api.experiments, experiment_id, "Experiment")
    namespace = api.authorize(experiment.get("namespace", ""), "create", "runs")
    documents = api.source(body)
    runtime_config = body.get("runtime_config", {})
    check_parameters(documents[0], runtime_config.get("parameters", {}))
    run_id = body.get("run_id") or str(uuid4())
    # As in the real server: the workflow first, whether or not the row can be written afterwards.
    workflow = api.start_workflow(run_id, documents, runtime_config)
    if len(body.get("description", "")) > 255:
        raise ApiError(INTERNAL, "Error 1406: Data too long for column 'Description'", chain="Failed to store run")
    if run_id in api.runs or api.rows_to_lose:
        api.rows_to_lose = max(0, api.rows_to_lose - 1)
        raise ApiError(INTERNAL, f"Error 1062: Duplicate entry '{run_id}'", chain="Failed to store run to table")
    run = RunRow(
        run_id=run_id,
        display_name=body["display_name"],
        description=body.get("description", ""),
        experiment_id=experiment_id,
        namespace=namespace,
        workflow=workflow,
        reference=body.get("pipeline_version_reference", {}),
        pipeline_spec=body.get("pipeline_spec", {}),
        service_account=body.get("service_account") or ("default-editor" if api.multi_user else "pipeline-runner"),
        runtime_config=runtime_config,
        has_tasks=api.version >= (3, 0),
        has_plugins=(2, 17) <= api.version < (3, 0),
    )
    api.give_script(run)
    api.runs[run_id] = run
    return run.document()


def terminate_run(api: Api, request: Request, run_id: str) -> Any:
    run = api.run(run_id, "terminate")
    if run.is_final or run.state == "CANCELING":
        raise ApiError(INVALID_ARGUMENT, f"Failed to terminate a run {run_id}. Row not found")
    # The history learns of it only if the agent reports while the workflow is still ending.
    run.state = "CANCELING"
    run.workflow.stop()
    return {}


def retry_run(api: Api, request: Request, run_id: str) -> Any:
    run = api.run(run_id, "retry")
    if run.state != "FAILED":
        raise ApiError(ABORTED, f"Workflow must be Failed/Error to retry, but it is {run.state}")
    run.workflow.is_stopped = False
    run.finished = 0
    run.state = "PENDING"
    if api.python and not run.is_scripted:
        run.workflow.start(api.python)
    return {}


def archive_run(api: Api, request: Request, run_id: str) -> Any:
    api.run(run_id, "archive").storage_state = "ARCHIVED"
    return {}


def unarchive_run(api: Api, request: Request, run_id: str) -> Any:
    api.run(run_id, "unarchive").storage_state = "AVAILABLE"
    return {}


def delete_run(api: Api, request: Request, run_id: str) -> Any:
    run = api.run(run_id, "delete")
    run.workflow.stop()
    del api.runs[run_id]
    return {}


def get_node_log(api: Api, request: Request, run_id: str, pod_name: str) -> Response:
    """Answer 200 whatever happens: the body tells."""
    log = api.log_of(run_id, pod_name) if "api" in api.log_sources and api.multi_user else None
    if log is None:
        # A single-user server looks for the pod in the namespace "", where it never is.
        error = {"error_message": "Failed to read run log: pod not found", "error_details": "NotFoundError"}
        log = json.dumps(error)
    return Response(body=log, content_type="text/plain")


def get_pod_log(api: Api, request: Request) -> Response:
    """Answer as the UI's server does."""
    if api.multi_user and not request.query.get("podnamespace"):
        return Response(body="podnamespace argument is required", status=422, content_type="text/plain")
    log = None
    if "ui" in api.log_sources:
        log = api.log_of(request.query.get("runid", ""), request.query.get("podname", ""))
    if log is None:
        return Response(body="Could not get main container logs: Error", status=500, content_type="text/plain")
    return Response(body=log, content_type="text/plain")
