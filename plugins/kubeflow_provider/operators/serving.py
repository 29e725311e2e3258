"""Brings a candidate up, gives it the traffic, and takes it away again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TaskInstanceState, conf
from airflow.sdk.exceptions import AirflowSkipException

from kubeflow_provider.active_runs import roll_back_under_way
from kubeflow_provider.candidate import Candidate
from kubeflow_provider.exceptions import (
    DeploymentFailedError,
    InvalidRequestError,
    KubeflowProviderError,
    ReleaseRefusedError,
    RollBackFailedError,
    ServiceUnavailableError,
)
from kubeflow_provider.failures import first_failure, task_states
from kubeflow_provider.hooks import REGISTRY_HOOKS, SERVING_HOOKS, get_service
from kubeflow_provider.links import XCOM_ENDPOINT, EndpointLink
from kubeflow_provider.pins import is_pinned, refuse_outdated, refuse_pinned
from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState, ReleaseState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.serving import DeploymentTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import Deployment, RegistryService, ServingService

#: XCom key under which :class:`DeployCandidateOperator` leaves the version that was live before the release (empty
#: when there was none). :class:`RollBackOperator` depends on it: renaming it loses the way back of running releases.
PREVIOUS_VERSION_XCOM_KEY = "previous_version"

#: Key in the task state store: the candidate had been live when it was rolled back, whatever a later try finds.
_WAS_LIVE_STATE_KEY = "candidate_was_live"

_NEVER_LIVE = frozenset({ReleaseState.REGISTERED, ReleaseState.CANDIDATE})

#: The trigger ends by itself at the deadline; the scheduler's own limit is only the net below it.
_DEFER_BUFFER = timedelta(minutes=5)

_PROOF_BODY = json.dumps({"instances": ["Is the previous version back?"]}).encode()
_PROOF_SECONDS = 15.0


class DeployCandidateOperator(BaseOperator):
    """Bring a version up beside the live one, without traffic, and wait until it is ready.

    Pushes ``previous_version`` (live before, empty when none was) and ``endpoint`` as XComs before it changes
    anything, so that :class:`RollBackOperator` knows the way back from here on. Returns the candidate's own address.

    :param model: name of the model (templated).
    :param version: version to deploy (templated).
    :param candidate_uri: URI of its ``candidate.json`` (templated).
    :param settings: ``serving`` section of the model's YAML, as a mapping or as JSON (templated).
    :param compared_with: version that was live when the release began, empty when none was: the candidate is refused
        when another one is live by now, and when a person has taken it back once; ``None``: it is not asked, as in a
        roll back (templated).
    :param roll_back_dag_id: DAG by which people roll back; with ``compared_with``, nothing is deployed meanwhile.
    :param serving_conn_id: connection to the serving system (templated).
    :param registry_conn_id: connection to the registry that records the candidate; ``None``: nothing is recorded.
    :param store_conn_id: Airflow connection for the model store, where it needs one (templated).
    :param timeout: longest wait for the version to be ready.
    :param poll_interval_seconds: longest pause between two questions.
    :param deferrable: wait in the triggerer.
    :raises DeploymentFailedError: with the serving system's diagnosis.
    :raises ReleaseRefusedError: before anything is changed, see ``compared_with``.
    """

    template_fields: Sequence[str] = (
        "model",
        "version",
        "candidate_uri",
        "settings",
        "compared_with",
        "serving_conn_id",
        "registry_conn_id",
        "store_conn_id",
    )
    operator_extra_links = (EndpointLink(),)

    def __init__(
        self,
        *,
        model: str,
        version: str,
        candidate_uri: str,
        settings: Mapping[str, Any] | str | None = None,
        compared_with: str | None = None,
        roll_back_dag_id: str = "roll_back",
        serving_conn_id: str = "serving_default",
        registry_conn_id: str | None = None,
        store_conn_id: str | None = None,
        timeout: timedelta = timedelta(minutes=30),
        poll_interval_seconds: float = 10,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.candidate_uri = candidate_uri
        self.settings = settings or {}
        self.compared_with = compared_with
        self.roll_back_dag_id = roll_back_dag_id
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id
        self.timeout = timeout
        self.poll_interval_seconds = poll_interval_seconds
        self.deferrable = deferrable

    def execute(self, context: Context) -> str | None:
        """Deploy, and wait here or in the triggerer."""
        self.version = str(self.version)  # a DAG that renders native objects makes a number of it
        candidate = self._read_candidate()
        service: ServingService = get_service(self.serving_conn_id, SERVING_HOOKS)
        registry: RegistryService | None = None
        if self.registry_conn_id:
            registry = get_service(self.registry_conn_id, REGISTRY_HOOKS)
        self._refuse_comeback(context, candidate, service, registry)
        ti = context["ti"]
        ti.xcom_push(key=PREVIOUS_VERSION_XCOM_KEY, value=_version_before(service, self.model, self.version))
        ti.xcom_push(key=XCOM_ENDPOINT, value=service.endpoint_url(self.model))
        origin = {"dag-id": self.dag_id, "dag-run-id": context.get("run_id") or ""}
        if registry is not None:
            known = registry.get_release(self.model, self.version)
            if known is None or known.state is not ReleaseState.LIVE:
                registry.set_state(self.model, self.version, ReleaseState.CANDIDATE)
            origin["registry-url"] = registry.release_url(self.model, self.version) or ""
        deployment = service.deploy_candidate(
            ModelVersion(
                model=self.model,
                version=self.version,
                archive_uri=candidate.archive_uri,
                archive_sha256=candidate.archive_sha256,
                settings=json.loads(self.settings) if isinstance(self.settings, str) else self.settings,
                origin=origin,
            )
        )
        if deployment.state.is_terminal:
            return self._result(deployment.state, deployment.reason, deployment.url)
        trigger = DeploymentTrigger(
            model=self.model,
            version=self.version,
            conn_id=self.serving_conn_id,
            deadline=datetime.now(tz=UTC) + self.timeout,
            poll_interval_seconds=self.poll_interval_seconds,
        )
        if self.deferrable:
            self.defer(trigger=trigger, method_name="execute_complete", timeout=self.timeout + _DEFER_BUFFER)
        return self.execute_complete(context, asyncio.run(trigger.wait()))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str | None:
        """Go on with what the trigger saw."""
        raise_for_error(event)
        if event["outcome"] == WaitOutcome.TIMEOUT:
            raise DeploymentFailedError(
                f"{self.model} {self.version} was not ready within {self.timeout}. Look at the serving system, or give "
                "the task a longer `timeout`."
            )
        return self._result(DeploymentState(event["state"]), event["reason"], event["url"])

    def _refuse_comeback(
        self, context: Context, candidate: Candidate, service: ServingService, registry: RegistryService | None
    ) -> None:
        if self.compared_with is None:
            return
        if registry is not None:
            refuse_pinned(self.model, self.version, registry)
        if run_id := roll_back_under_way(context, self.roll_back_dag_id, self.model):
            raise ReleaseRefusedError(
                f"{self.model} is being rolled back by hand ({self.roll_back_dag_id}, {run_id}), so {self.version} is "
                "not deployed. Start a new release when that is over: it is compared with what is live then."
            )
        refuse_outdated(candidate, service, compared_with=str(self.compared_with))

    def _read_candidate(self) -> Candidate:
        candidate = Candidate.read(self.candidate_uri, conn_id=self.store_conn_id)
        if (candidate.model, candidate.version) != (self.model, self.version):
            raise InvalidRequestError(
                f"{self.candidate_uri} describes {candidate.model} {candidate.version}; this task is to deploy "
                f"{self.model} {self.version}."
            )
        return candidate

    def _result(self, state: DeploymentState, reason: str | None, url: str | None) -> str | None:
        if state is not DeploymentState.READY:
            raise DeploymentFailedError(f"{self.model} {self.version} could not be deployed: {reason}")
        self.log.info("%s %s is ready, without traffic, at %s.", self.model, self.version, url)
        return url


class RollBackOperator(BaseOperator):
    """Undo a release from whatever point it reached: the previous version back, proven, and the candidate gone.

    Records ROLLED_BACK for a version that had been live and FAILED for one that had not, with the first failure of
    the DAG run as the reason. Returns the version that is live now, ``None`` when none was before. Skips itself when
    none of the tasks before it has failed itself, or the candidate was refused before anything was touched.

    :param model: name of the model (templated).
    :param version: version of the release that failed (templated).
    :param previous_version: version to put back, as :class:`DeployCandidateOperator` left it; empty when none was
        live (templated).
    :param failed_task_ids: the tasks to look at for the reason, in their order; ``None``: all of the DAG.
    :param serving_conn_id: connection to the serving system (templated).
    :param registry_conn_id: connection to the registry (templated); ``None``: nothing is recorded.
    :raises RollBackFailedError: when the previous version is not proven to answer: somebody has to look now.
    """

    template_fields: Sequence[str] = ("model", "version", "previous_version", "serving_conn_id", "registry_conn_id")

    def __init__(
        self,
        *,
        model: str,
        version: str,
        previous_version: str | None,
        failed_task_ids: Sequence[str] | None = None,
        serving_conn_id: str = "serving_default",
        registry_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.previous_version = previous_version
        self.failed_task_ids = failed_task_ids
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id

    def execute(self, context: Context) -> str | None:
        """Roll back, prove it, and only then record it."""
        if self._nothing_was_touched(context):
            self._record_refusal(context)
            raise AirflowSkipException(
                f"{self.model} {self.version} was never deployed: there is nothing to roll back."
            )
        # A template renders "nothing" as a word, and a DAG that renders native objects makes numbers of versions.
        previous = None if self.previous_version in (None, "", "None") else str(self.previous_version)
        self.version = str(self.version)
        service: ServingService = get_service(self.serving_conn_id, SERVING_HOOKS)
        try:
            was_live = self._note_was_live(context, service)
            live = service.roll_back(self.model, candidate=self.version, previous=previous)
            if live is None and previous is not None:
                raise RollBackFailedError(f"{self.model}: {previous} should be live after the roll back; nothing is.")
            self._prove(service, live)
        except RollBackFailedError:
            raise
        except KubeflowProviderError as error:
            raise RollBackFailedError(
                f"{self.model}: {previous or 'nothing'} should answer instead of {self.version}, but: {error}"
            ) from error
        self._record(context, was_live)
        now = f"{live.version} answers" if live else "nothing is live, as before"
        self.log.info("%s %s is rolled back; %s.", self.model, self.version, now)
        return live.version if live else None

    def _nothing_was_touched(self, context: Context) -> bool:
        """Trigger rule ``one_failed`` fires for tasks that never ran as well, because something before them failed."""
        if not self.upstream_task_ids:
            return False
        states = {
            task_id: state for task_id, state in task_states(context).items() if task_id in self.upstream_task_ids
        }
        failed = [task_id for task_id, state in states.items() if state == TaskInstanceState.FAILED]
        if TaskInstanceState.SUCCESS in states.values():
            return not failed
        return all(_was_refused(context, task_id) for task_id in failed)

    def _note_was_live(self, context: Context, service: ServingService) -> bool:
        store = context["task_state_store"]
        live = service.get_live(self.model)
        if live is not None and live.version == self.version:
            store.set(_WAS_LIVE_STATE_KEY, True)
        return bool(store.get(_WAS_LIVE_STATE_KEY, False))

    def _prove(self, service: ServingService, live: Deployment | None) -> None:
        """Ask the address that users call; routes may take a moment to change."""
        if live is None:
            return
        expected = live.version
        deadline = time.monotonic() + _PROOF_SECONDS
        while (got := self._answering(service)) != expected:
            if time.monotonic() > deadline:
                raise RollBackFailedError(f"{self.model}: {expected} should answer after the roll back, got {got}.")
            time.sleep(0.5)

    def _answering(self, service: ServingService) -> str:
        try:
            answer = service.predict(self.model, _PROOF_BODY)
        except ServiceUnavailableError as error:
            return str(error)
        try:
            return str(answer.body["predictions"][0]["version"])
        except (KeyError, IndexError, TypeError):
            return f"HTTP {answer.status_code}"

    def _record(self, context: Context, was_live: bool) -> None:
        if not self.registry_conn_id:
            return
        failure = first_failure(context, self.failed_task_ids)
        registry: RegistryService = get_service(self.registry_conn_id, REGISTRY_HOOKS)
        release = registry.get_release(self.model, self.version)
        if release is not None and is_pinned(release):
            return  # who took it back, when and why stays what the record says
        was_live = was_live or (release is not None and ReleaseState.LIVE in release.times)
        registry.set_state(
            self.model,
            self.version,
            ReleaseState.ROLLED_BACK if was_live else ReleaseState.FAILED,
            reason=str(failure) if failure else "rolled back by hand",
        )

    def _record_refusal(self, context: Context) -> None:
        """Close the record of a candidate that was refused; one that has been live keeps the record of that."""
        failure = first_failure(context, sorted(self.upstream_task_ids))
        if failure is None or not self.registry_conn_id:
            return
        registry: RegistryService = get_service(self.registry_conn_id, REGISTRY_HOOKS)
        release = registry.get_release(self.model, str(self.version))
        if release is not None and release.state in _NEVER_LIVE and not is_pinned(release):
            registry.set_state(self.model, release.version, ReleaseState.FAILED, reason=str(failure))


def _was_refused(context: Context, task_id: str) -> bool:
    failure = first_failure(context, [task_id])
    return failure is not None and failure.error == ReleaseRefusedError.__name__


def _version_before(service: ServingService, model: str, version: str) -> str:
    """Return the version that a roll back of this release has to put back, empty when there is none."""
    live = service.get_live(model)
    if live is not None and live.version != version:
        return live.version
    # The release was promoted before and runs again, or there is nothing yet.
    return (service.get_previous(model) if live is not None else None) or ""
