"""Finds out what can be known about a release before compute is spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from include.contracts.version.files import reason_of
from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError, ServiceUnavailableError
from kubeflow_provider.hooks import get_pipeline_service
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.pipelines.spec import bind
from kubeflow_provider.services import ModelVersion, RunRequest
from model_releases.addresses import refuse_shown
from model_releases.memory.active_runs import roll_back_under_way
from model_releases.memory.candidate import read_candidate
from model_releases.memory.claims import claim
from model_releases.memory.live import find_live
from model_releases.operators.base import ReleaseStep, unreachable
from model_releases.registry.service_labels import are_wanted, labelling
from model_releases.rules.sealed import refuse_judged

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import PipelineService, ServingService
    from model_releases.registry.service import RegistryService


#: Key in the task state store: what a claim of this run is known by, in every life of the task.
_CLAIM_STATE_KEY = "claim_mark"


class CheckReleaseOperator(ReleaseStep):
    """Check parameters, connections and model store, and compare the registry with what is serving.

    Everything that is wrong is named at once. Returns (as XCom) ``version``, which nobody else has (see
    :func:`model_releases.memory.claims.claim`; ``version`` of this task is what the run would like to have),
    ``live_uri``, the archive of the live model that the candidate will be compared with (empty before the first
    release), ``live_version`` and ``tracking_uri``.

    :param store_uri: folder of the model in the model store; must be writable (templated).
    :param pipeline_file: compiled IR (templated); or
    :param pipeline: name or id of a pipeline that the pipeline service keeps (templated), and
    :param pipeline_version: name or id of its version; ``None``: the newest (templated).
    :param parameters: values for the IR's parameters as far as they are known by now (templated).
    :param cluster: what the run will ask of a cluster, see :class:`RunRequest` (templated).
    :param settings: ``serving`` section of the model's YAML (templated).
    :param refused_sources: what the form names and may not have read, in sentences; empty: nothing (templated).
    :param private_sources: names of the sources whose addresses have a secret, which no pod is given; empty: there are
        none (templated).
    :param pipelines_conn_id: connection to the pipeline service.
    :raises InvalidRequestError: when the request can never work as it stands.
    :raises VersionSealedError: when the gate has judged the version of this run already.
    :raises ServiceUnavailableError: when a service or the store does not answer, or the model is being rolled back.
    """

    template_fields = (
        *ReleaseStep.template_fields,
        "store_uri",
        "pipeline_file",
        "pipeline",
        "pipeline_version",
        "parameters",
        "cluster",
        "settings",
        "refused_sources",
        "private_sources",
    )

    def __init__(
        self,
        *,
        store_uri: str,
        pipeline_file: str | None = None,
        pipeline: str | None = None,
        pipeline_version: str | None = None,
        parameters: Mapping[str, Any],
        cluster: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        refused_sources: str = "",
        private_sources: str = "",
        pipelines_conn_id: str = "pipelines_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.store_uri = store_uri
        self.pipeline_file = pipeline_file
        self.pipeline = pipeline
        self.pipeline_version = pipeline_version
        self.parameters = parameters
        self.cluster = cluster or {}
        self.settings = settings or {}
        self.refused_sources = refused_sources
        self.private_sources = private_sources
        self.pipelines_conn_id = pipelines_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        if self.refused_sources:
            raise InvalidRequestError(f"Nothing was started. {self.refused_sources}")
        pipelines = get_pipeline_service(self.pipelines_conn_id)
        request = self._request(pipelines)
        refuse_shown(pipelines, self.private_sources)
        serving = self.serving_service()
        registry = self.registry_service()

        unclaimed = self._claim(context)
        problems = unreachable(self.pipelines_conn_id, pipelines.test_connection)
        refused = [] if problems else _refused(self.pipelines_conn_id, pipelines, request)
        unserved = unreachable(self.serving_conn_id, serving.test_connection)
        refused += [] if unserved else self._unservable(serving, registry)
        problems += [
            *unserved,
            *unreachable(self.registry_conn_id, registry.test_connection),
            *unclaimed,
            *self._rolled_back_meanwhile(context),
        ]
        if refused:
            raise InvalidRequestError(" ".join(["Nothing was started.", *refused, *problems]))
        if problems:
            raise ServiceUnavailableError(" ".join(["Nothing was started.", *problems]))
        refuse_judged(context, self.model, self.version, registry)
        live_version, live_uri = self._live(serving, registry)
        return {
            "version": self.version,
            "live_version": live_version,
            "live_uri": live_uri,
            "tracking_uri": registry.tracking_uri,
        }

    def _request(self, pipelines: PipelineService) -> RunRequest:
        if self.pipeline_file is not None:
            pipeline = read_pipeline_spec(self.pipeline_file)
        else:
            pipeline = pipelines.find_pipeline(str(self.pipeline), self.pipeline_version or None)
        return RunRequest(
            run_id=str(uuid4()),
            pipeline=pipeline,
            parameters=bind(pipeline, self.parameters),
            display_name=f"{self.model} {self.version}",
            cluster=self.cluster,
        )

    def _unservable(self, serving: ServingService, registry: RegistryService) -> list[str]:
        """Return why a version of this release could not be deployed, were it trained."""
        candidate = ModelVersion(
            model=self.model,
            version=str(self.version),
            archive_uri=f"{self.store_uri}/{self.version}/package",
            archive_sha256="",
            settings=self.settings,
        )
        if are_wanted(self.settings, serving):
            try:
                labelling(registry)
            except InvalidRequestError as error:
                return [f"Connection {self.registry_conn_id!r}: {error}"]
        try:
            serving.check_candidate(candidate)
        except InvalidRequestError as error:
            return [f"Connection {self.serving_conn_id!r}: {error}"]
        return []

    def _rolled_back_meanwhile(self, context: Context) -> list[str]:
        run = roll_back_under_way(context, self.model)
        if not run:
            return []
        return [
            f"{self.model} is being rolled back by hand ({run}). Start the release when that is over; a run that hangs "
            "has to be marked as failed in Airflow first."
        ]

    def _claim(self, context: Context) -> list[str]:
        """Make the version this run's own, the next free one where somebody else has it; return why that fails."""
        store = context["task_state_store"]
        mark = str(store.get(_CLAIM_STATE_KEY) or uuid4())
        store.set(_CLAIM_STATE_KEY, mark)
        asked, run = self.version, f"{self.dag_id}, {context.get('run_id') or ''}"
        try:
            self.version = claim(self.store_uri, asked, mark=mark, run=run, conn_id=self.store_conn_id)
        except Exception as error:  # each file system has errors of its own
            why = reason_of(error) if isinstance(error, PermissionError) else error
            return [f"Model store {self.store_uri} is not writable: {why}."]
        if self.version != asked:
            self.log.info("%s is another run's version: this release is %s %s.", asked, self.model, self.version)
        return []

    def _live(self, serving: ServingService, registry: RegistryService) -> tuple[str, str]:
        """Return version and archive URI of what is live; the serving system is the truth, the registry has the URI."""
        live = find_live(serving, registry, self.model, settings=self.settings)
        recorded = registry.get_live(self.model)
        recorded_version = recorded.version if recorded else None
        live_version = live.version if live else None
        if live_version != recorded_version:
            self.log.warning(
                "Registry and serving disagree about %s: the registry says that %s is live, serving answers with %s. "
                "This release goes on; it compares the candidate with what serves.",
                self.model,
                recorded_version or "nothing",
                live_version or "nothing",
            )
        if live_version is None:
            self.log.info("No version of %s is live yet: this will be its first release.", self.model)
            return "", ""
        record = registry.get_release(self.model, live_version)
        archive_uri = record.archive_uri if record else self._archive_in_store(live_version)
        if not archive_uri:
            self.log.warning("Nobody knows where %s %s came from: no comparison.", self.model, live_version)
        return live_version, archive_uri

    def _archive_in_store(self, version: str) -> str:
        """Return where the store has a version that the registry has lost, empty where it has none."""
        try:
            return read_candidate(f"{self.store_uri}/{version}/candidate.json", conn_id=self.store_conn_id).archive.uri
        except KubeflowProviderError:
            return ""


def _refused(conn_id: str, pipelines: PipelineService, request: RunRequest) -> list[str]:
    """Return why the service would not take the run, if it would not."""
    try:
        pipelines.check_run(request)
    except InvalidRequestError as error:
        return [f"Connection {conn_id!r}: {error}"]
    return []
