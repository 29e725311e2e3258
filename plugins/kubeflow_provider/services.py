"""What operators need of a service, and the value objects that pass between them.

An operator asks for the hook of its connection (``hooks.get_pipeline_service``, for example) and speaks to it through
one of these protocols only, so that a laptop and a cluster can take each other's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.states import DeploymentState, RunState

JsonValue = str | int | float | bool | None | list[Any] | dict[str, Any]


# Pipelines

#: So long after its beginning a run is found by its description.
FINDABLE = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run to start.

    :param run_id: UUID chosen by the client; asking twice with the same id starts one run.
    :param pipeline: what runs. One that has a reference runs as the service keeps it, unless ``cluster`` changes it.
    :param parameters: values for its parameters, already checked and cast (``pipelines.spec.bind``).
    :param display_name: what people see in lists.
    :param experiment: groups runs in the service's UI.
    :param cluster: settings of the cluster (image, storage, scheduling), passed on as it is; a service without a
        cluster has no use for it.
    :param is_repeat: somebody may have asked for this run before, a moment ago and in vain: a service on which a run
        takes time to be seen waits that long before it starts one.
    :param description: what people read of the run, and by which :meth:`PipelineService.find_runs` finds it.
    :param keep_pipeline: whether a pipeline without a reference becomes one that the service keeps; otherwise only
        this run has it, which needs no right but that to run.
    """

    run_id: str
    pipeline: PipelineSpec
    parameters: Mapping[str, JsonValue]
    display_name: str
    experiment: str = "Default"
    cluster: Mapping[str, JsonValue] = field(default_factory=dict)
    is_repeat: bool = False
    description: str = ""
    keep_pipeline: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run that needs nothing any more but to be started.

    :param document: what :meth:`PipelineService.start_run` needs of it; JSON types, for it may travel to a triggerer.
    :param url: page of the run to be, for people, where the service has one.
    :param experiment_url: page of the run's experiment, where the service has one.
    """

    run_id: str
    document: Mapping[str, JsonValue]
    url: str | None = None
    experiment_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModule:
    """A module's pod that needs nothing any more but to be made.

    :param pod: as Kubernetes takes it; JSON types, for it travels to a triggerer.
    :param kubernetes_conn_id: Airflow connection of the cluster.
    """

    pod: Mapping[str, JsonValue]
    kubernetes_conn_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """One step of a run, in the order in which it started.

    :param progress: the step's own latest word on how far it is, where the service can tell.
    """

    name: str
    state: RunState
    progress: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as the service reports it.

    :param reason: why it failed, in one line; ``None`` unless it did.
    :param url: page of the run for people, where the service has one.
    :param experiment_url: page of the run's experiment, where the service has one.
    :param description: the request's.
    :param created_at: with a time zone, where the service can tell.
    :param outputs: see :mod:`kubeflow_provider.run_outputs`; ``None`` unless it is over and the service tells them.
    """

    run_id: str
    state: RunState
    display_name: str = ""
    steps: tuple[RunStep, ...] = ()
    reason: str | None = None
    url: str | None = None
    experiment_url: str | None = None
    description: str = ""
    created_at: datetime | None = None
    outputs: Mapping[str, JsonValue] | None = None


@runtime_checkable
class PipelineService(Protocol):
    """Runs compiled pipelines. A run outlives the process that asked for it.

    :ivar shows_arguments: whether others can read the arguments of a module, as they can those of a pod.
    """

    shows_arguments: bool

    def find_pipeline(self, pipeline: str, version: str | None = None) -> PipelineSpec:
        """Return a pipeline that the service keeps, with the reference of just this version.

        :param pipeline: name or id.
        :param version: name or id; ``None`` for the newest.
        :raises InvalidRequestError: when there is none, or the service keeps no pipelines.
        """

    def check_run(self, request: RunRequest) -> None:
        """Find out whether the run could be started, without starting or storing anything.

        :param request: as for :meth:`create_run`; parameters that are not known yet may be left out.
        :raises InvalidRequestError: naming what stands in its way.
        """

    def create_run(self, request: RunRequest) -> Run:
        """Start the run, or return the one that already has this id. Safe to repeat, also after a crash.

        The same as :meth:`prepare_run` and :meth:`start_run`, one after the other.
        """

    def prepare_run(self, request: RunRequest) -> PreparedRun:
        """Do everything that has to be done before the run can be started, and start nothing. Safe to repeat.

        :raises InvalidRequestError: naming what stands in the run's way.
        """

    def start_run(self, document: Mapping[str, JsonValue], *, is_repeat: bool = False) -> Run:
        """Start a prepared run, or return the one that already has its id. Safe to repeat, also after a crash.

        It needs no file of whoever prepared the run, unless the service is of one machine.

        :param document: of the :class:`PreparedRun`.
        :param is_repeat: see :class:`RunRequest`.
        """

    def find_runs(self, text: str) -> Sequence[Run]:
        """Return the runs whose description holds the text and that nobody has asked to stop; the newest first.

        What is older than :data:`FINDABLE` need not be found.
        """

    def get_run(self, run_id: str) -> Run | None:
        """Return the run, or ``None`` when the service does not know it."""

    async def aget_run(self, run_id: str, *, slack_seconds: float = 0.0) -> Run | None:
        """Like :meth:`get_run`, without blocking the event loop.

        :param slack_seconds: so much later the question may go out: a service that can answer many such questions
            at once waits for others to go with it.
        """

    def terminate_run(self, run_id: str) -> None:
        """Ask the run to stop. Harmless when it is over or unknown."""

    async def aterminate_run(self, run_id: str) -> None:
        """Like :meth:`terminate_run`, without blocking the event loop."""

    def run_url(self, run_id: str) -> str | None:
        """Return the page of a run for people, where the service has one; nobody is asked whether the run is there."""

    def get_run_log(self, run_id: str, *, last_lines: int = 30) -> str:
        """Return the last log lines of the failed step, or of the run where no step failed."""

    def run_module(
        self,
        module: str,
        arguments: Mapping[str, str],
        *,
        timeout_seconds: float,
        cluster: Mapping[str, JsonValue] | None = None,
        is_prepared: bool = False,
    ) -> None:
        """Run ``python -m module --key=value ...`` of the pipeline half in its environment and wait for it.

        Its output goes to the task log line by line. An empty value leaves its key out. ``cluster`` is as in
        :class:`RunRequest`.

        :param is_prepared: what :meth:`prepare_module` has described is over; what became of it is told here.
        :raises InvalidRequestError: when it exits with 2, its word for input that must be mended first; the
            message is its last line on stderr.
        :raises KubeflowProviderError: when it exits with another non-zero code, or takes longer than the timeout.
        """

    def prepare_module(
        self,
        module: str,
        arguments: Mapping[str, str],
        *,
        timeout_seconds: float,
        cluster: Mapping[str, JsonValue] | None = None,
    ) -> PreparedModule | None:
        """Return what a triggerer needs to start the module and look after it; nothing is started here.

        :return: ``None`` where whoever asks for it has to run it: its process is a child of theirs.
        :raises InvalidRequestError: naming what stands in its way.
        """

    def terminate_module(self) -> None:
        """Stop what :meth:`run_module` of this same object is running, from a signal handler. Harmless otherwise."""

    def test_connection(self) -> tuple[bool, str]:
        """Answer for the connection form's Test button."""


@runtime_checkable
class ScheduledService(Protocol):
    """What a pipeline service has besides where a step may have to wait for a machine."""

    def waits_for(self, run_id: str) -> str | None:
        """Return what is missing for a step of a run; ``None`` when nothing is, or nobody says."""


# Serving


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A packed model that can be served.

    :param model: the name in the URL.
    :param version: sortable number made from the DAG run's time, for example ``20261121030000``.
    :param archive_uri: URI of the folder with ``config/`` and ``model-store/<model>.mar``.
    :param archive_sha256: hex digest of the ``.mar``.
    :param settings: how it is to be served, passed on as it is.
    :param origin: where it came from, for people who find it in the serving system: ``dag-run``, ``registry-url`` ...
    :param service_labels: of what users call, where this version has to make it; what is there keeps its own.
    """

    model: str
    version: str
    archive_uri: str
    archive_sha256: str
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    service_labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One version in the serving system.

    :param reason: why it is FAILED or still PENDING, with the last log lines where there are any.
    :param is_live: True for the version that answers at :attr:`url`'s public path.
    :param url: where this version's predictions can be asked for.
    """

    model: str
    version: str
    state: DeploymentState
    is_live: bool = False
    reason: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from one prediction request.

    :param status_code: HTTP status.
    :param body: parsed JSON, or the raw text when it was not JSON.
    :param latency_ms: from the first byte sent to the last byte received.
    :param version: which version says that it has answered, where the server tells; it need not be ours.
    """

    status_code: int
    body: Any
    latency_ms: float
    version: str | None = None


@runtime_checkable
class ServingService(Protocol):
    """Serves versions of models. Promoting and rolling back never leave a moment without a serving model.

    :ivar works_in_background: whether it only accepts what it is asked for and carries it out by itself, so that a
        triggerer can ask for it as well as a worker.
    """

    works_in_background: bool

    def check_candidate(self, candidate: ModelVersion) -> None:
        """Find out whether a version could be deployed, without deploying it: its archive need not be there yet.

        :raises InvalidRequestError: naming what stands in its way.
        """

    def deploy_candidate(self, candidate: ModelVersion) -> Deployment:
        """Bring the version up beside the live one, without traffic. Safe to repeat.

        Returns as soon as the service has accepted it: ask :meth:`get_deployment` whether it is READY.
        """

    def get_deployment(self, model: str, version: str) -> Deployment | None:
        """Return the version's state, or ``None`` when it is not deployed."""

    async def aget_deployment(self, model: str, version: str) -> Deployment | None:
        """Like :meth:`get_deployment`, without blocking the event loop."""

    def get_live(self, model: str) -> Deployment | None:
        """Return the version that users reach, or ``None`` before the first release."""

    def get_previous(self, model: str) -> str | None:
        """Return the version that was live before the present one and is kept to go back to."""

    def get_traffic(self, model: str) -> Mapping[str, int]:
        """Return version -> percent of the traffic that it gets at present, the live version first.

        For whoever only looks: it starts nothing, and empty means that nothing is released yet.

        :raises ServiceUnavailableError: when the serving system is not running or does not answer.
        """

    def predict(self, model: str, body: bytes, *, version: str | None = None, timeout_seconds: float = 30) -> Answer:
        """Send a raw request body to a version, or through the address that users call when ``version`` is ``None``.

        :raises ServiceUnavailableError: when there was no answer at all; an HTTP error status is one.
        """

    def can_split_traffic(self, model: str) -> bool:
        """Return whether a new version of the model can be given a part of the traffic.

        False where the service cannot, and for a model without a live version: its first release gets all at once.
        """

    def shift_traffic(self, model: str, version: str, percent: int) -> Deployment:
        """Give the version this share of the traffic, and the live one the rest. Safe to repeat.

        Returns as soon as the service has accepted it: the share has arrived when :meth:`get_deployment` says READY.
        While a version has a part of the traffic it is not live: :meth:`roll_back` takes the part away again.

        :param percent: 0 to 100; 100 makes the version the live one, as :meth:`promote` does.
        :raises InvalidRequestError: for a share below 100 where :meth:`can_split_traffic` says no.
        :raises DeploymentFailedError: when the version is not READY; what was live still is.
        """

    def promote(self, model: str, version: str) -> Deployment:
        """Give the version all of the traffic and keep the one before it to go back to. Safe to repeat.

        Returns as :meth:`shift_traffic` does; until the version is READY the one before it answers.
        """

    def roll_back(self, model: str, *, candidate: str, previous: str | None) -> Deployment | None:
        """Undo a release from whatever point it reached. Safe to repeat.

        Afterwards ``previous`` is live (when it is not ``None``) and ``candidate`` is gone. A third version that
        went live since stays live: a late roll back undoes its own release only.

        :return: what is live now, ``None`` when nothing was live before.
        """

    def remove(self, model: str, version: str) -> None:
        """Take a version that is not live out of service. Harmless when it is not there.

        :raises InvalidRequestError: when it is the live one.
        """

    def endpoint_url(self, model: str) -> str:
        """Return the address that users call for predictions."""

    def test_connection(self) -> tuple[bool, str]:
        """Answer for the connection form's Test button."""


@runtime_checkable
class ForgetfulService(Protocol):
    """What a serving service has besides when its record of what is live can be lost."""

    def restore_live(self, model: str, version: ModelVersion | None) -> None:
        """Make the version live that was, after ``get_live`` has raised ``LiveVersionUnknownError``. Safe to repeat.

        :param version: ``None``: nothing was live.
        """
