"""Runs compiled pipelines on Kubeflow Pipelines, through its REST API (v2beta1)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import takewhile
from typing import Any, ClassVar

from airflow.sdk import BaseHook, Connection

from kubeflow_provider.access import access_for
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import (
    InvalidRequestError,
    KubeflowProviderError,
    OutageError,
    PermissionDeniedError,
    ServiceUnavailableError,
)
from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.hooks._kubeflow_pipelines.access_check import check_access, hint_at_address
from kubeflow_provider.hooks._kubeflow_pipelines.asynchronous import AsyncVerbs
from kubeflow_provider.hooks._kubeflow_pipelines.kept.experiments import find_experiment, get_or_create_experiment
from kubeflow_provider.hooks._kubeflow_pipelines.kept.runs import KeptRuns
from kubeflow_provider.hooks._kubeflow_pipelines.kept.versions import find_version, get_or_upload_version, source_of
from kubeflow_provider.hooks._kubeflow_pipelines.listing import list_documents
from kubeflow_provider.hooks._kubeflow_pipelines.logs import SERVICE, StepLogs, reason_of_failure
from kubeflow_provider.hooks._kubeflow_pipelines.modules import ModulesInPods
from kubeflow_provider.hooks._kubeflow_pipelines.pods import RunPods
from kubeflow_provider.hooks._kubeflow_pipelines.runs import name_with_id, read_run
from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.hooks._kubeflow_pipelines.shared_polling import SharedPolling
from kubeflow_provider.hooks._kubeflow_pipelines.submission import Submission
from kubeflow_provider.http.authentication import authentication_for
from kubeflow_provider.http.client import HttpClient
from kubeflow_provider.http.settings import HttpSettings
from kubeflow_provider.kubernetes.settings import ClusterSettings
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines import patch
from kubeflow_provider.services import FINDABLE, JsonValue, PreparedRun, Run, RunRequest
from kubeflow_provider.states import RunState

#: So many runs are asked for one by one at the same time; the others wait.
_ALONE_AT_ONCE = 8

#: Runs that this process has terminated: their server will call them FAILED.
_TERMINATED: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a server says about itself.

    :param version: for example ``2.17.0``, ``None`` for a build without one.
    :param is_multi_user: whether everything belongs to a profile's namespace.
    """

    version: str | None
    is_multi_user: bool


class KubeflowPipelinesHook(ModulesInPods, KeptRuns, AsyncVerbs, BaseHook):
    """The pipeline service (:class:`kubeflow_provider.services.PipelineService`) of a Kubeflow cluster.

    Pipelines are uploaded once, as versions that are named after what they hold, with the model's cluster settings in
    them, and run by reference. A run has the id that its caller chose; asking twice starts one.

    :param kubeflow_pipelines_conn_id: Airflow connection.
    :param connection: the connection itself, where it is already known.
    """

    conn_name_attr = "kubeflow_pipelines_conn_id"
    default_conn_name = "kubeflow_pipelines_default"
    conn_type = "kubeflow_pipelines"
    hook_name = "Kubeflow Pipelines"

    #: How long the fate of a request to start a run may be unknown before it is made again, see
    #: :class:`~kubeflow_provider.hooks._kubeflow_pipelines.submission.Submission`.
    settle_seconds: ClassVar[float] = 150.0

    def __init__(
        self, kubeflow_pipelines_conn_id: str = default_conn_name, *, connection: Connection | None = None
    ) -> None:
        super().__init__()
        self.kubeflow_pipelines_conn_id = kubeflow_pipelines_conn_id
        fields = ConnectionFields(connection or self.get_connection(kubeflow_pipelines_conn_id))
        http = HttpSettings.read(fields)
        self.settings = PipelinesSettings.read(fields, http)
        #: What this process knows of the connection's credentials.
        self.access = access_for(fields)
        self._auth = authentication_for(fields, http)
        fields.check()
        self.client = HttpClient(http, self._auth, service=SERVICE, access=self.access, health_path=api.HEALTH_PATH)
        self._polling = SharedPolling(self._list_documents)
        self._may_list = True
        self._alone = asyncio.Semaphore(_ALONE_AT_ONCE)

    @cached_property
    def server(self) -> Server:
        """Version and mode of the server."""
        health = api.get_health().send(self.client)
        version = re.search(r"\d+\.\d+(\.\d+)?", health.get("tag_name", ""))
        return Server(version=version[0] if version else None, is_multi_user=health.get("multi_user", False))

    # Pipelines

    def find_pipeline(self, pipeline: str, version: str | None = None) -> PipelineSpec:
        """Return a pipeline of the namespace, or one that all share, with the reference of just this version.

        :param pipeline: name or id.
        :param version: name or id; ``None`` for the newest.
        :raises InvalidRequestError: when there is none.
        """
        return find_version(self.client, pipeline, version, namespace=self._namespace)

    def upload_pipeline(self, spec: PipelineSpec) -> dict[str, str]:
        """Upload a pipeline as a version that is named after what it holds, or find the one that is there.

        :return: ``pipeline_id`` and ``pipeline_version_id``.
        """
        return get_or_upload_version(self.client, spec, namespace=self._namespace)

    # Runs

    def check_run(self, request: RunRequest) -> None:
        """Find out whether pipeline, cluster settings and namespace fit this server.

        :raises InvalidRequestError: naming what does not.
        """
        self._prepare(request)
        _ = self._namespace

    def create_run(self, request: RunRequest) -> Run:
        """Start the run, or return the one that already has this id.

        :raises InvalidRequestError: when pipeline, parameters, cluster settings or namespace do not fit.
        :raises ServiceUnavailableError: when the server cannot start it now. Asking again with ``is_repeat`` is safe.
        """
        if (known := self.get_run(request.run_id)) is not None:
            self.log.info("Pipeline run %s is known already; it is %s.", known.run_id, known.state.value)
            return known
        return self.start_run(self.prepare_run(request).document, is_repeat=request.is_repeat)

    def prepare_run(self, request: RunRequest) -> PreparedRun:
        """Find the experiment, and have the pipeline where the server finds it.

        :raises InvalidRequestError: when pipeline, parameters, cluster settings or namespace do not fit.
        :raises ServiceUnavailableError: when the server cannot be asked now.
        """
        spec, settings = self._prepare(request)
        experiment_id = get_or_create_experiment(self.client, request.experiment, namespace=self._namespace)
        body: dict[str, Any] = {
            "run_id": request.run_id,
            "display_name": name_with_id(request.display_name, request.run_id),
            "experiment_id": experiment_id,
            **source_of(self.client, request, spec, namespace=self._namespace),
            "runtime_config": {"parameters": dict(request.parameters)},
        }
        if request.description:
            body["description"] = request.description
        if root := settings.pipeline_root or self.settings.pipeline_root:
            body["runtime_config"]["pipeline_root"] = root
        if settings.service_account:
            body["service_account"] = settings.service_account
        return PreparedRun(
            run_id=request.run_id,
            document=body,
            url=self.settings.run_url(request.run_id),
            experiment_url=self.settings.experiment_url(experiment_id),
        )

    def start_run(self, document: Mapping[str, JsonValue], *, is_repeat: bool = False) -> Run:
        """Start a prepared run, or return the one that already has its id.

        :raises InvalidRequestError: when the server refuses it.
        :raises ServiceUnavailableError: when the server cannot start it now. Asking again with ``is_repeat`` is safe.
        """
        submission = Submission(client=self.client, body=document, settle_seconds=self.settle_seconds)
        return self._read(submission.start(is_repeat=is_repeat))

    def get_run(self, run_id: str) -> Run | None:
        """Return the run, or ``None`` when the server does not know it (any more)."""
        document = self._document(run_id)
        return None if document is None else self._read(document)

    async def aget_run(self, run_id: str, *, slack_seconds: float = 0.0) -> Run | None:
        """Like :meth:`get_run`, without blocking the event loop.

        Runs that go on are read from lists, see :class:`SharedPolling`; one that is over, or in no list, is asked for
        by itself: a list need not tell its steps, and only the run's own address tells that it is gone.

        :param slack_seconds: so long the question may wait for others to go with it.
        """
        listed = await self._polling.ask(run_id, slack_seconds=slack_seconds)
        if listed is not None and not (run := self._read_listed(listed)).state.is_terminal:
            return run
        try:
            async with self._alone:
                document = await api.get_run(run_id).asend(self.client)
        except InvalidRequestError as error:
            if error.http_status != 404:
                raise
            return await asyncio.to_thread(self.get_run, run_id)  # to make sure; this happens once, if ever
        if document.get("state") == RunState.FAILED:
            return await asyncio.to_thread(self._read, document)
        return self._read(document)

    def list_runs(
        self, *, experiment: str | None = None, name_contains: str | None = None, limit: int = 100
    ) -> Iterator[Run]:
        """Yield runs, the newest first, without the reasons of failures.

        :param experiment: only those of this experiment.
        :param name_contains: only those whose display name holds this text, upper or lower case.
        :param limit: at most so many.
        """
        scope: dict[str, str | None] = {"namespace": self._namespace}
        if experiment is not None:
            experiment_id = find_experiment(self.client, experiment, namespace=self._namespace)
            if experiment_id is None:
                return
            scope = {"experiment_id": experiment_id}
        filter = api.where("display_name", "IS_SUBSTRING", name_contains) if name_contains else None
        for document in list_documents(self.client, scope, filter=filter, limit=limit):
            yield self._read_listed(document)

    def find_runs(self, text: str) -> list[Run]:
        """Return the runs whose description holds the text and that nobody has asked to stop; the newest first."""
        oldest = datetime.now(tz=UTC) - FINDABLE
        filter = api.where("description", "IS_SUBSTRING", text)
        documents = list_documents(self.client, {"namespace": self._namespace}, filter=filter)
        runs = map(self._read_listed, documents)
        young = takewhile(lambda run: run.created_at is None or run.created_at >= oldest, runs)
        return [run for run in young if run.state.goes_on]

    def terminate_run(self, run_id: str) -> None:
        """Ask the run to stop. Harmless when it is over or unknown."""
        try:
            api.terminate_run(run_id).send(self.client)
        except (InvalidRequestError, ServiceUnavailableError) as error:
            self._excuse(run_id, error)
        else:
            self._remember_terminated(run_id)

    async def aterminate_run(self, run_id: str) -> None:
        """Like :meth:`terminate_run`, without blocking the event loop."""
        try:
            await api.terminate_run(run_id).asend(self.client)
        except (InvalidRequestError, ServiceUnavailableError) as error:
            await asyncio.to_thread(self._excuse, run_id, error)
        else:
            self._remember_terminated(run_id)

    def retry_run(self, run_id: str) -> None:
        """Run those steps of a failed run again that did not succeed.

        :raises InvalidRequestError: when the run has not failed, or is being retried already.
        """
        api.retry_run(run_id).send(self.client)
        _TERMINATED.discard(run_id)

    def run_url(self, run_id: str) -> str | None:
        """Return the page of a run for people, ``None`` where the address of Kubeflow's UI is unknown."""
        return self.settings.run_url(run_id)

    def get_run_log(self, run_id: str, *, last_lines: int = 30) -> str:
        """Return the last log lines of the failed step, or of the newest step where none failed.

        Empty when there are none any more: Kubeflow keeps logs for as long as the pods, unless it has an archive.
        """
        document = self._document(run_id)
        return "" if document is None else self._logs.tail(document, last_lines)

    def waits_for(self, run_id: str) -> str | None:
        """Return what the cluster's nodes lack for a pod of a run; ``None`` when nothing is missing, or nobody says."""
        return RunPods(self.settings).waits_for(run_id)

    # The connection's form

    def test_connection(self) -> tuple[bool, str]:
        """Check that the server answers, knows who is asking, and lets them do what the operators do."""
        try:
            server = self.server
            access = check_access(self.client, namespace=self._namespace)
        except KubeflowProviderError as error:
            return False, f"{error}{hint_at_address(self.client.settings.base_url, error)}"
        mode = f"namespace {self.settings.namespace}" if server.is_multi_user else "single-user"
        return True, f"Kubeflow Pipelines {server.version or 'of an unknown version'} answers ({mode}){access}."

    # What the methods share

    def _prepare(self, request: RunRequest) -> tuple[PipelineSpec, ClusterSettings]:
        """Return the pipeline as it is to run, with the cluster settings in it."""
        settings = ClusterSettings.from_mapping(request.cluster)
        return patch.apply(request.pipeline, settings, server_version=self.server.version), settings

    @property
    def _namespace(self) -> str | None:
        """What calls say about the namespace; a single-user server wants to hear of none."""
        if not self.server.is_multi_user:
            return None
        if not self.settings.namespace:
            raise InvalidRequestError(
                f"Connection {self.kubeflow_pipelines_conn_id!r}: this Kubeflow has profiles; set `namespace` to the "
                "one that runs are to belong to (the name at the top of its dashboard)."
            )
        return self.settings.namespace

    def _document(self, run_id: str) -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = api.get_run(run_id).send(self.client)
        except InvalidRequestError as error:
            if error.http_status != 404:
                raise
            self._make_sure_of_address(error)
            return None
        return document

    def _make_sure_of_address(self, not_found: InvalidRequestError) -> None:
        """Tell a run that is gone from a gateway that has lost its way to the server."""
        self.__dict__.pop("server", None)
        try:
            _ = self.server
        except InvalidRequestError as error:
            raise ServiceUnavailableError(
                f"{not_found} Nor does it answer when asked for its health: is host the address of the API, "
                "with its path (https://.../pipeline on a Kubeflow platform), and is the server running?",
                http_status=404,
            ) from error

    async def _list_documents(self, run_ids: Sequence[str]) -> AsyncIterator[dict[str, dict[str, Any]]]:
        """Yield the documents of these runs by their id, page by page, as far as the server lists them.

        A server or a gateway that lets nobody list, or finds this question wrong, lists none, and is not asked again
        by this hook; triggers get a new one every few minutes.
        """
        if not self._may_list:
            return
        try:
            namespace = await asyncio.to_thread(lambda: self._namespace)
            async with self.client.kept_open() as client:
                for start in range(0, len(run_ids), api.LARGEST_PAGE):
                    filter = api.where_in("run_id", run_ids[start : start + api.LARGEST_PAGE])
                    page = await api.list_runs(namespace=namespace, filter=filter).asend(client)
                    yield {document["run_id"]: document for document in page.get("runs", [])}
        except (InvalidRequestError, OutageError, PermissionDeniedError) as error:
            if not isinstance(error, InvalidRequestError) and error.http_status != 403:
                raise  # a login that has expired is no reason to knock once for each run
            self._may_list = False
            self.log.warning("Runs cannot be listed, so each is asked for by itself: %s", error)

    def _read_listed(self, document: Mapping[str, Any]) -> Run:
        return read_run(document, self.settings, was_terminated=document["run_id"] in _TERMINATED)

    def _read(self, document: Mapping[str, Any]) -> Run:
        run = self._read_listed(document)
        if run.state is not RunState.FAILED:
            return run
        return replace(run, reason=reason_of_failure(document, self._logs))

    @cached_property
    def _logs(self) -> StepLogs:
        return StepLogs.of(self.client.settings, self._auth, self.settings)

    def _excuse(self, run_id: str, error: InvalidRequestError | ServiceUnavailableError) -> None:
        """Let pass that a run cannot be terminated which is over, unknown, or being terminated already.

        The server answers 404, 400 ("Row not found"), or 500 where the run's workflow is gone.
        """
        if error.http_status not in (400, 404, 500):
            raise error
        document = self._document(run_id)
        if document is None:
            return
        state = self._read_listed(document).state
        if state.goes_on:
            raise error
        if state is RunState.CANCELING:
            self._remember_terminated(run_id)

    def _remember_terminated(self, run_id: str) -> None:
        _TERMINATED.add(run_id)
        self.log.info("Pipeline run %s has been asked to stop.", run_id)
