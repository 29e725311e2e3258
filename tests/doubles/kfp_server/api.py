"""What every call of the REST API shares: who may do what, and the rows that are there."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.doubles.kfp_server.argo import Workflow
from tests.doubles.kfp_server.checks import unknown_in_answer
from tests.doubles.kfp_server.errors import (
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    UNAUTHENTICATED,
    ApiError,
    UploadError,
)
from tests.doubles.kfp_server.state import RunRow
from tests.doubles.kfp_server.transport import Request, Response
from tests.doubles.kfp_server.values import timestamp, without_zero_values

#: Method, pattern of the path, what answers it, and the model that the answer must fit.
Route = tuple[str, str, Callable[..., Any], str | None]


class Api:
    """One API server.

    :param multi_user: whether profiles are told apart; ``namespaces`` are those that callers may use, and
        ``refused_verbs`` what they may not do there.
    :param tag_name: version of the server.
    :param has_attempts: whether every template has a retry strategy; ``None`` is what the version's manifests say.
    :param python: interpreter of the pipeline half, which runs the workflows; without it nothing runs them.
    :param folder: for the workflows' files.
    :param token: bearer token that every request must carry; ``None`` lets everybody in.
    :param prefix: in front of every path, as behind a platform's gateway.
    :param routes: what it can be asked.
    """

    def __init__(
        self,
        *,
        multi_user: bool,
        tag_name: str,
        has_attempts: bool | None,
        python: str | None,
        folder: Path,
        token: str | None,
        namespaces: tuple[str, ...],
        refused_verbs: tuple[str, ...],
        prefix: str,
        routes: Sequence[Route],
    ) -> None:
        self.multi_user = multi_user
        self.tag_name = tag_name
        self.token = token
        self.runs: dict[str, RunRow] = {}
        self.workflows: list[Workflow] = []
        self.experiments: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.recurring_runs: dict[str, dict[str, Any]] = {}
        #: Ids of the recurring runs that Kubernetes knows, those among them that have no row.
        self.scheduled_workflows: set[str] = set()
        self.scripts: dict[str | None, list[Any]] = {}
        #: How many of the next rows the database refuses, when their workflows already exist.
        self.rows_to_lose = 0
        #: False while Kubernetes cannot be asked for tokens.
        self.can_review_tokens = True
        #: Where a pod's log can be had: in the UI, at the API server.
        self.log_sources = {"ui", "api"}
        #: A build without a version is taken for a late 2.
        self.version = (int(match[1]), int(match[2])) if (match := re.match(r"(\d+)\.(\d+)", tag_name)) else (2, 99)
        self.has_attempts = self.version >= (2, 17) if has_attempts is None else has_attempts
        self.python = python
        self.folder = folder
        self.namespaces = namespaces
        self._refused_verbs = refused_verbs
        self._prefix = prefix
        self._routes = routes
        self._lock = threading.RLock()

    def answer(self, request: Request) -> Response:
        """Return the response to a request."""
        try:
            self._authenticate(request)
            with self._lock:
                return self._route(request)
        except ApiError as error:
            return Response(body=error.body(old_gateway=self.version <= (2, 5)), status=error.http_status)
        except UploadError as error:
            return Response(body=error.body(), status=error.http_status)

    def _authenticate(self, request: Request) -> None:
        """Ask Kubernetes who is asking, but for the health page; while that is away, nobody is known."""
        if request.path.endswith("/healthz"):
            return
        is_known = self.token is None or request.headers.get("authorization") == f"Bearer {self.token}"
        if not is_known or not self.can_review_tokens:
            reason = "Error invalid bearer token" if self.can_review_tokens else "Failed to create TokenReview"
            raise ApiError(
                UNAUTHENTICATED,
                "Failed to check authorization. User identity is empty in the request header",
                chain=f"Failed to handle the request: Authentication failure: Unauthenticated: {reason}",
            )

    def _route(self, request: Request) -> Response:
        path = request.path.removeprefix(self._prefix)
        if path == request.path and self._prefix:
            return Response(body="404 page not found\n", status=404, content_type="text/plain")
        for method, pattern, handler, model in self._routes:
            if method == request.method and (match := re.fullmatch(pattern, path)):
                body = handler(self, request, *match.groups())
                if isinstance(body, Response):
                    return body
                problems = unknown_in_answer(body, model, version=self.version) if model else []
                assert not problems, problems
                return Response(body=body)
        return Response(body={"code": NOT_FOUND, "message": "Not Found"}, status=404)

    # What the calls share

    def authorize(self, namespace: str, verb: str, resource: str, *, shared: bool = False) -> str:
        """Return the namespace that counts; a single-user server drops what it is given."""
        if not self.multi_user:
            return ""
        if not namespace:
            if shared and verb in ("get", "list"):
                return ""
            raise ApiError(INVALID_ARGUMENT, f"Namespace cannot be empty in multi-user mode ({resource})")
        if namespace not in self.namespaces or verb in self._refused_verbs:
            raise ApiError(
                PERMISSION_DENIED,
                f"User 'somebody@example.com' is not authorized (request: {verb} {resource} in {namespace})",
            )
        return namespace

    def existing(self, rows: Mapping[str, dict[str, Any]], key: str, kind: str) -> dict[str, Any]:
        """Return the row, or refuse the request as the server does."""
        if key not in rows:
            raise ApiError(NOT_FOUND, f"{kind} {key} not found.", chain="ResourceNotFoundError")
        return rows[key]

    def add_experiment(self, name: str, namespace: str) -> dict[str, Any]:
        """Write a row of the table of experiments."""
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

    def default_experiment(self) -> str:
        """Return the id of the experiment that a single-user server takes where none is named."""
        names = {row["display_name"]: key for key, row in self.experiments.items()}
        return names.get("Default") or str(self.add_experiment("Default", "")["experiment_id"])

    def source(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the documents that a new run brings, or those of the version that it refers to."""
        if spec := body.get("pipeline_spec"):
            documents = [spec["pipeline_spec"], spec["platform_spec"]] if "pipeline_spec" in spec else [spec]
            if "root" not in documents[0]:
                raise ApiError(INTERNAL, "invalid v2 pipeline spec", chain="Failed to fetch a template")
            return documents
        reference = body.get("pipeline_version_reference", {})
        # Without a version the latest one of the pipeline is meant.
        known = [row for row in self.versions.values() if row["pipeline_id"] == reference.get("pipeline_id")]
        version_id = reference.get("pipeline_version_id") or (known[-1]["pipeline_version_id"] if known else "")
        version = self.versions.get(version_id)
        if version is None:
            # Not 404: the server wraps every failure to find the manifest as an internal error.
            raise ApiError(INTERNAL, "pipeline version not found", chain="Failed to fetch a template")
        kept: list[dict[str, Any]] = version["_documents"]
        return kept

    def start_workflow(self, run_id: str, documents: list[dict[str, Any]], config: Mapping[str, Any]) -> Workflow:
        """Create the workflow of a run."""
        workflow = Workflow(
            run_id=run_id,
            documents=documents,
            parameters=config.get("parameters", {}),
            folder=self.folder / f"workflow-{len(self.workflows)}",
            has_attempts=self.has_attempts,
        )
        self.workflows.append(workflow)
        if self.python and not {run_id, None} & self.scripts.keys():
            workflow.start(self.python)
        return workflow

    def give_script(self, run: RunRow) -> None:
        """Let a run do what a test has scripted for it, or for every run."""
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
                    self.give_script(run)

    def run(self, run_id: str, verb: str) -> RunRow:
        """Return a run that the caller may touch, as the persistence agent last saw it."""
        if run_id not in self.runs:
            raise ApiError(NOT_FOUND, f"Run {run_id} not found.", chain="ResourceNotFoundError")
        run = self.runs[run_id]
        self.authorize(run.namespace, verb, "runs")
        run.sync()
        return run

    def log_of(self, run_id: str, pod_name: str) -> str | None:
        """Return what a pod has said, ``None`` when there is no such pod."""
        run = self.runs.get(run_id)
        return run.workflow.pod_log(pod_name) if run else None
