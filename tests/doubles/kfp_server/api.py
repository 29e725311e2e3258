"""The REST API, version v2beta1, call by call."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from email.parser import BytesParser
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from tests.doubles.kfp_server.argo import Workflow
from tests.doubles.kfp_server.checks import check_parameters, check_request, select, unknown_fields
from tests.doubles.kfp_server.errors import (
    ABORTED,
    ALREADY_EXISTS,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    UNAUTHENTICATED,
    ApiError,
    UploadError,
)
from tests.doubles.kfp_server.state import RunRow, timestamp, without_zero_values
from tests.doubles.kfp_server.transport import Request, Response

_V2 = "/apis/v2beta1"
_LARGEST_UPLOAD = 32 * 1024 * 1024
_RUN_KEYS = {"run_id", "display_name", "created_at", "finished_at", "description", "storage_state", "state"}


class Api:
    """One API server.

    :param multi_user: whether profiles are told apart; ``namespaces`` are those that callers may use.
    :param tag_name: version of the server.
    :param python: interpreter of the pipeline half, which runs the workflows; without it nothing runs them.
    :param folder: for the workflows' files.
    :param token: bearer token that every request must carry; ``None`` lets everybody in.
    :param prefix: in front of every path, as behind a platform's gateway.
    """

    def __init__(
        self,
        *,
        multi_user: bool,
        tag_name: str,
        python: str | None,
        folder: Path,
        token: str | None,
        namespaces: tuple[str, ...],
        prefix: str,
    ) -> None:
        self.multi_user = multi_user
        self.tag_name = tag_name
        self.token = token
        self.runs: dict[str, RunRow] = {}
        self.workflows: list[Workflow] = []
        self.experiments: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.scripts: dict[str | None, list[Any]] = {}
        #: How many of the next rows the database refuses, when their workflows already exist.
        self.rows_to_lose = 0
        #: Where a pod's log can be had: in the UI, at the API server.
        self.log_sources = {"ui", "api"}
        self._minor = int(match[1]) if (match := re.match(r"2\.(\d+)", tag_name)) else 99
        self._python = python
        self._folder = folder
        self._namespaces = namespaces
        self._prefix = prefix
        self._lock = threading.RLock()

    def answer(self, request: Request) -> Response:
        """Return the response to a request."""
        try:
            if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
                raise ApiError(UNAUTHENTICATED, "Request header error: there is no user identity header.")
            with self._lock:
                return self._route(request)
        except ApiError as error:
            return Response(body=error.body(old_gateway=self._minor <= 5), status=error.http_status)
        except UploadError as error:
            return Response(body=error.body(), status=error.http_status)

    def _route(self, request: Request) -> Response:
        path = request.path.removeprefix(self._prefix)
        if path == request.path and self._prefix:
            return Response(body="404 page not found\n", status=404, content_type="text/plain")
        for method, pattern, handler, model in _ROUTES:
            if method == request.method and (match := re.fullmatch(pattern, path)):
                body = handler(self, request, *match.groups())
                if isinstance(body, Response):
                    return body
                assert not model or not (problems := unknown_fields(body, model)), problems
                return Response(body=body)
        return Response(body={"code": NOT_FOUND, "message": "Not Found"}, status=404)

    # Health and experiments

    def get_health(self, request: Request) -> Any:
        return without_zero_values(
            {
                "commit_sha": "7b70c7b95f6832772efd6fd0029a4024491a0f44",
                "tag_name": self.tag_name,
                "multi_user": self.multi_user,
                # Known since 2.14.
                "pipeline_store": "database" if self._minor >= 14 else "",
            }
        )

    def list_experiments(self, request: Request) -> Any:
        namespace = self._authorize(request.query.get("namespace", ""), "list", "experiments")
        rows = [row for row in self.experiments.values() if row.get("namespace", "") == namespace]
        return _page("experiments", rows, request, {"experiment_id", "display_name", "created_at", "storage_state"})

    def create_experiment(self, request: Request) -> Any:
        body = check_request(request.body, "V2beta1Experiment", minor=self._minor)
        namespace = self._authorize(body.get("namespace", ""), "create", "experiments")
        if not body.get("display_name"):
            raise ApiError(
                INVALID_ARGUMENT, "Experiment's name cannot be empty", chain="Failed to create an experiment"
            )
        if any(
            (row["display_name"].lower(), row.get("namespace", "")) == (body["display_name"].lower(), namespace)
            for row in self.experiments.values()
        ):
            raise ApiError(ALREADY_EXISTS, f"The name {body['display_name']} already exists. Please specify a new name")
        return self._experiment(body["display_name"], namespace)

    def get_experiment(self, request: Request, experiment_id: str) -> Any:
        return self._existing(self.experiments, experiment_id, "Experiment")

    # Pipelines and versions

    def list_pipelines(self, request: Request) -> Any:
        namespace = self._authorize(request.query.get("namespace", ""), "list", "pipelines", shared=True)
        rows = [row for row in self.pipelines.values() if row.get("namespace", "") == namespace]
        return _page("pipelines", rows, request, {"pipeline_id", "name", "display_name", "created_at", "description"})

    def create_pipeline(self, request: Request) -> Any:
        body = check_request(request.body, "V2beta1Pipeline", minor=self._minor)
        namespace = self._authorize(body.get("namespace", ""), "create", "pipelines", shared=True)
        name = body.get("name") or body.get("display_name")
        if not name:
            raise ApiError(INVALID_ARGUMENT, "Pipeline's name cannot be empty")
        if any((row["_name"], row.get("namespace", "")) == (name, namespace) for row in self.pipelines.values()):
            raise ApiError(ALREADY_EXISTS, f"The pipeline name {name} already exists. Please specify a new name")
        row = without_zero_values(
            {
                "pipeline_id": str(uuid4()),
                "name": name if self._minor >= 14 else "",
                "display_name": body.get("display_name") or name,
                "description": body.get("description", ""),
                "namespace": namespace,
                "created_at": timestamp(time.time()),
            }
        )
        self.pipelines[row["pipeline_id"]] = {**row, "_name": name}
        return row

    def get_pipeline_by_name(self, request: Request, name: str) -> Any:
        namespace = self._authorize(request.query.get("namespace", ""), "get", "pipelines", shared=True)
        for row in self.pipelines.values():
            if (row["_name"].lower(), row.get("namespace", "")) == (name.lower(), namespace):
                return _public(row)
        raise ApiError(NOT_FOUND, f"Pipeline {name} not found", chain="Failed to get a pipeline by name and namespace")

    def list_versions(self, request: Request, pipeline_id: str) -> Any:
        self._existing(self.pipelines, pipeline_id, "Pipeline")
        rows = [row for row in self.versions.values() if row["pipeline_id"] == pipeline_id]
        return _page("pipeline_versions", rows, request, {"pipeline_version_id", "name", "display_name", "created_at"})

    def upload_version(self, request: Request) -> Any:
        documents = _uploaded(request)
        pipeline_id = request.query.get("pipelineid", "")
        name = request.query.get("name") or "pipeline"
        if pipeline_id not in self.pipelines or not documents:
            raise UploadError(400, "Failed to create a pipeline version")
        try:
            self._authorize(self.pipelines[pipeline_id].get("namespace", ""), "create", "pipelines", shared=True)
        except ApiError as error:
            raise UploadError(400, "Failed to create a pipeline version") from error
        if any((row["pipeline_id"], row["_name"]) == (pipeline_id, name) for row in self.versions.values()):
            raise UploadError(409, "Failed to create a pipeline version")
        row = without_zero_values(
            {
                "pipeline_id": pipeline_id,
                "pipeline_version_id": str(uuid4()),
                "name": name if self._minor >= 14 else "",
                "display_name": request.query.get("display_name") or name,
                "description": request.query.get("description", ""),
                "created_at": timestamp(time.time()),
                "pipeline_spec": _spec(documents),
            }
        )
        self.versions[row["pipeline_version_id"]] = {**row, "_name": name, "_documents": documents}
        return row

    # Runs

    def list_runs(self, request: Request) -> Any:
        experiment_id = request.query.get("experiment_id", "")
        if experiment_id:
            namespace = self._existing(self.experiments, experiment_id, "Experiment").get("namespace", "")
        else:
            namespace = request.query.get("namespace", "")
        self._authorize(namespace, "list", "runs")
        rows = [
            self._synced(row).document()
            for row in self.runs.values()
            if not experiment_id or row.experiment_id == experiment_id
        ]
        return _page("runs", rows, request, _RUN_KEYS)

    def get_run(self, request: Request, run_id: str) -> Any:
        run = self._run(run_id, "get")
        run.next_of_script()
        return run.document()

    def create_run(self, request: Request) -> Any:
        body = check_request(request.body, "V2beta1Run", minor=self._minor)
        if not body.get("display_name"):
            raise ApiError(INTERNAL, "The run name is empty. Please specify a valid name", chain="InternalServerError")
        experiment_id = body.get("experiment_id", "")
        if not experiment_id:
            if self.multi_user:
                raise ApiError(INVALID_ARGUMENT, "Experiment id can not be empty", chain="Failed to create a new run")
            experiment_id = self._default_experiment()
        experiment = self._existing(self.experiments, experiment_id, "Experiment")
        namespace = self._authorize(experiment.get("namespace", ""), "create", "runs")
        documents = self._source(body)
        runtime_config = body.get("runtime_config", {})
        check_parameters(documents[0], runtime_config.get("parameters", {}))
        run_id = body.get("run_id") or str(uuid4())
        # As in the real server: the workflow first, whether or not the row can be written afterwards.
        workflow = self._start_workflow(run_id, documents, runtime_config)
        if run_id in self.runs or self.rows_to_lose:
            self.rows_to_lose = max(0, self.rows_to_lose - 1)
            raise ApiError(INTERNAL, f"Error 1062: Duplicate entry '{run_id}'", chain="Failed to store run to table")
        run = RunRow(
            run_id=run_id,
            display_name=body["display_name"],
            description=body.get("description", ""),
            experiment_id=experiment_id,
            namespace=namespace,
            workflow=workflow,
            reference=body["pipeline_version_reference"],
            service_account=body.get("service_account") or ("default-editor" if self.multi_user else "pipeline-runner"),
            runtime_config=runtime_config,
        )
        self._give_script(run)
        self.runs[run_id] = run
        return run.document()

    def terminate_run(self, request: Request, run_id: str) -> Any:
        run = self._run(run_id, "terminate")
        if run.is_final:
            raise ApiError(INVALID_ARGUMENT, f"Failed to terminate a run {run_id}. Row not found")
        # The history learns of it only if the agent reports while the workflow is still ending.
        run.state = "CANCELING"
        run.workflow.stop()
        return {}

    def retry_run(self, request: Request, run_id: str) -> Any:
        run = self._run(run_id, "retry")
        if run.state != "FAILED":
            raise ApiError(ABORTED, f"Workflow must be Failed/Error to retry, but it is {run.state}")
        run.workflow.is_stopped = False
        run.finished = 0
        run.state = "PENDING"
        if self._python and not run.is_scripted:
            run.workflow.start(self._python)
        return {}

    def archive_run(self, request: Request, run_id: str) -> Any:
        self._run(run_id, "archive").storage_state = "ARCHIVED"
        return {}

    def delete_run(self, request: Request, run_id: str) -> Any:
        run = self._run(run_id, "delete")
        run.workflow.stop()
        del self.runs[run_id]
        return {}

    # Logs

    def get_node_log(self, request: Request, run_id: str, pod_name: str) -> Response:
        """Answer 200 whatever happens: the body tells."""
        log = self._log_of(run_id, pod_name) if "api" in self.log_sources and self.multi_user else None
        if log is None:
            # A single-user server looks for the pod in the namespace "", where it never is.
            error = {"error_message": "Failed to read run log: pod not found", "error_details": "NotFoundError"}
            log = json.dumps(error)
        return Response(body=log, content_type="text/plain")

    def get_pod_log(self, request: Request) -> Response:
        """Answer as the UI's server does."""
        if self.multi_user and not request.query.get("podnamespace"):
            return Response(body="podnamespace argument is required", status=422, content_type="text/plain")
        log = None
        if "ui" in self.log_sources:
            log = self._log_of(request.query.get("runid", ""), request.query.get("podname", ""))
        if log is None:
            return Response(body="Could not get main container logs: Error", status=500, content_type="text/plain")
        return Response(body=log, content_type="text/plain")

    def _log_of(self, run_id: str, pod_name: str) -> str | None:
        run = self.runs.get(run_id)
        return run.workflow.pod_log(pod_name) if run else None

    # What the calls share

    def _authorize(self, namespace: str, verb: str, resource: str, *, shared: bool = False) -> str:
        """Return the namespace that counts; a single-user server drops what it is given."""
        if not self.multi_user:
            return ""
        if not namespace:
            if shared and verb in ("get", "list"):
                return ""
            raise ApiError(INVALID_ARGUMENT, f"Namespace cannot be empty in multi-user mode ({resource})")
        if namespace not in self._namespaces:
            raise ApiError(
                PERMISSION_DENIED,
                f"User 'somebody@example.com' is not authorized (request: {verb} {resource} in {namespace})",
            )
        return namespace

    def _existing(self, rows: Mapping[str, dict[str, Any]], key: str, kind: str) -> dict[str, Any]:
        if key not in rows:
            raise ApiError(NOT_FOUND, f"{kind} {key} not found.", chain="ResourceNotFoundError")
        return rows[key]

    def _experiment(self, name: str, namespace: str) -> dict[str, Any]:
        row = without_zero_values(
            {
                "experiment_id": str(uuid4()),
                "display_name": name,
                "created_at": timestamp(time.time()),
                "last_run_created_at": timestamp(0),
                "namespace": namespace,
                "storage_state": "AVAILABLE",
            }
        )
        self.experiments[row["experiment_id"]] = row
        return row

    def _default_experiment(self) -> str:
        names = {row["display_name"]: key for key, row in self.experiments.items()}
        return names.get("Default") or str(self._experiment("Default", "")["experiment_id"])

    def _source(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        reference = body.get("pipeline_version_reference", {})
        version = self.versions.get(reference.get("pipeline_version_id", ""))
        if version is None:
            # Not 404: the server wraps every failure to find the manifest as an internal error.
            raise ApiError(INTERNAL, "pipeline version not found", chain="Failed to fetch a template")
        documents: list[dict[str, Any]] = version["_documents"]
        return documents

    def _start_workflow(self, run_id: str, documents: list[dict[str, Any]], config: Mapping[str, Any]) -> Workflow:
        workflow = Workflow(
            run_id=run_id,
            documents=documents,
            parameters=config.get("parameters", {}),
            folder=self._folder / f"workflow-{len(self.workflows)}",
        )
        self.workflows.append(workflow)
        if self._python and not {run_id, None} & self.scripts.keys():
            workflow.start(self._python)
        return workflow

    def _give_script(self, run: RunRow) -> None:
        key = run.run_id if run.run_id in self.scripts else None
        if key in self.scripts:
            run.is_scripted = True
            run.script = list(self.scripts[key])

    def script(self, run_id: str | None, states: list[Any]) -> None:
        """Remember what a run, or every run, is to do."""
        with self._lock:
            self.scripts[run_id] = states
            for run in self.runs.values():
                if run_id in (None, run.run_id):
                    self._give_script(run)

    def _run(self, run_id: str, verb: str) -> RunRow:
        if run_id not in self.runs:
            raise ApiError(NOT_FOUND, f"Run {run_id} not found.", chain="ResourceNotFoundError")
        run = self.runs[run_id]
        self._authorize(run.namespace, verb, "runs")
        return self._synced(run)

    def _synced(self, run: RunRow) -> RunRow:
        run.sync()
        return run


def _public(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _page(name: str, rows: list[dict[str, Any]], request: Request, keys: set[str]) -> dict[str, Any]:
    page = select(rows, request.query, keys)
    # An empty list is absent, as every zero value is.
    return without_zero_values({name: [_public(row) for row in page.pop("rows")], **page})


def _spec(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return documents[0] if len(documents) == 1 else {"pipeline_spec": documents[0], "platform_spec": documents[1]}


def _uploaded(request: Request) -> list[dict[str, Any]]:
    """Return the YAML documents in the part ``uploadfile`` of a multipart body."""
    if len(request.body) > _LARGEST_UPLOAD:
        raise UploadError(400, "Failed to read a pipeline spec file")
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + request.body)
    for part in parts.get_payload() if parts.is_multipart() else []:
        if part.get_param("name", header="content-disposition") == "uploadfile":
            if not str(part.get_filename()).endswith((".yaml", ".json", ".zip", ".tar.gz")):
                raise UploadError(400, "Failed to read a pipeline spec file")
            return [document for document in yaml.safe_load_all(part.get_payload(decode=True)) if document]
    raise UploadError(400, "Failed to read pipeline from file")


_Handler = Callable[..., Any]
_ID = "([^/:]+)"
_ROUTES: list[tuple[str, str, _Handler, str | None]] = [
    ("GET", f"{_V2}/healthz", Api.get_health, None),
    ("GET", f"{_V2}/experiments", Api.list_experiments, "V2beta1ListExperimentsResponse"),
    ("POST", f"{_V2}/experiments", Api.create_experiment, "V2beta1Experiment"),
    ("GET", f"{_V2}/experiments/{_ID}", Api.get_experiment, "V2beta1Experiment"),
    ("GET", f"{_V2}/pipelines", Api.list_pipelines, "V2beta1ListPipelinesResponse"),
    ("POST", f"{_V2}/pipelines", Api.create_pipeline, "V2beta1Pipeline"),
    ("POST", f"{_V2}/pipelines/upload_version", Api.upload_version, "V2beta1PipelineVersion"),
    ("GET", f"{_V2}/pipelines/names/{_ID}", Api.get_pipeline_by_name, "V2beta1Pipeline"),
    ("GET", f"{_V2}/pipelines/{_ID}/versions", Api.list_versions, "V2beta1ListPipelineVersionsResponse"),
    ("GET", f"{_V2}/runs", Api.list_runs, "V2beta1ListRunsResponse"),
    ("POST", f"{_V2}/runs", Api.create_run, "V2beta1Run"),
    ("GET", f"{_V2}/runs/{_ID}", Api.get_run, "V2beta1Run"),
    ("DELETE", f"{_V2}/runs/{_ID}", Api.delete_run, None),
    ("POST", f"{_V2}/runs/{_ID}:terminate", Api.terminate_run, None),
    ("POST", f"{_V2}/runs/{_ID}:retry", Api.retry_run, None),
    ("POST", f"{_V2}/runs/{_ID}:archive", Api.archive_run, None),
    ("GET", f"/apis/v1alpha1/runs/{_ID}/nodes/{_ID}/log", Api.get_node_log, None),
    ("GET", "/k8s/pod/logs", Api.get_pod_log, None),
]
