"""Undoes a release: sends users back, takes the candidate away, and records why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskInstanceState
from airflow.sdk.exceptions import AirflowSkipException

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import KubeflowProviderError, LiveVersionUnknownError, ServiceUnavailableError
from model_releases import ids
from model_releases.exceptions import ReleaseRefusedError, RollBackFailedError, VersionSealedError
from model_releases.kinds.answers import answering_version
from model_releases.memory import xcoms
from model_releases.memory.failures import first_failure, task_states
from model_releases.operators.base import ReleaseStep
from model_releases.rules.replaceable import is_pinned

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import Deployment, ServingService

#: Key in the task state store: the candidate had been live when it was rolled back, whatever a later try finds.
_WAS_LIVE_STATE_KEY = "candidate_was_live"

_NEVER_LIVE = frozenset({ReleaseState.REGISTERED, ReleaseState.CANDIDATE})

_PROOF_SECONDS = 15.0


_AS_IT_WAS = f"{{{{ ti.xcom_pull('{ids.DEPLOY_CANDIDATE}', key='{xcoms.PREVIOUS_VERSION}') or '' }}}}"


class RollBackOperator(ReleaseStep):
    """Undo a release from whatever point it reached: the previous version back, proven, and the candidate gone.

    Records ROLLED_BACK for a version that had been live and FAILED for one that had not, with the first failure of
    the DAG run as the reason. Returns the version that is live now, ``None`` when none was before. Skips itself when
    none of the tasks before it has failed itself, or the candidate was refused before anything was touched.

    :param previous_version: version to put back, empty when none was live (templated); default: what the task
        :data:`model_releases.ids.DEPLOY_CANDIDATE` found live before it changed anything.
    :param proof_request: body of a request that every version of the model answers, in the protocol that users speak.
    :param failed_task_ids: the tasks to look at for the reason, in their order; ``None``: all of the DAG.
    :raises RollBackFailedError: when the previous version is not proven to answer: somebody has to look now.
    """

    template_fields = (*ReleaseStep.template_fields, "previous_version")

    def __init__(
        self,
        *,
        previous_version: str | None = _AS_IT_WAS,
        proof_request: str = '{"instances": ["Is the previous version back?"]}',
        failed_task_ids: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.previous_version = previous_version
        self.proof_request = proof_request
        self.failed_task_ids = failed_task_ids

    def execute(self, context: Context) -> str | None:
        """Roll back, prove it, and only then record it."""
        if self._nothing_was_touched(context):
            self._record_refusal(context)
            raise AirflowSkipException(
                f"{self.model} {self.version} was never deployed: there is nothing to roll back."
            )
        # A template renders "nothing" as a word, and a DAG that renders native objects makes numbers of versions.
        previous = None if self.previous_version in (None, "", "None") else str(self.previous_version)
        service = self.serving_service()
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
        self._record_live(live)
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
        if any(_error(context, task_id) == VersionSealedError.__name__ for task_id in failed):
            return True
        if TaskInstanceState.SUCCESS in states.values():
            return not failed
        return all(_error(context, task_id) == ReleaseRefusedError.__name__ for task_id in failed)

    def _note_was_live(self, context: Context, service: ServingService) -> bool:
        store = context["task_state_store"]
        try:
            live = service.get_live(self.model)
        except LiveVersionUnknownError:  # this release knows what to put back
            live = None
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
            answer = service.predict(self.model, self.proof_request.encode())
        except ServiceUnavailableError as error:
            return str(error)
        return answering_version(answer) or f"HTTP {answer.status_code}"

    def _record(self, context: Context, was_live: bool) -> None:
        if not self.registry_conn_id:
            return
        failure = first_failure(context, self.failed_task_ids)
        registry = self.registry_service()
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

    def _record_live(self, live: Deployment | None) -> None:
        """Let the registry say what is live, also where this release had begun to say something else."""
        if live is None or not self.registry_conn_id:
            return
        registry = self.registry_service()
        recorded = registry.get_live(self.model)
        if recorded is not None and recorded.version == live.version and recorded.state is ReleaseState.LIVE:
            return
        if registry.get_release(self.model, live.version) is not None:
            reason = f"live again after {self.version}"
            registry.set_state(self.model, live.version, ReleaseState.LIVE, reason=reason)

    def _record_refusal(self, context: Context) -> None:
        """Close the record of a candidate that was refused; one that has been live keeps the record of that."""
        failure = first_failure(context, sorted(self.upstream_task_ids))
        if failure is None or not self.registry_conn_id:
            return
        registry = self.registry_service()
        release = registry.get_release(self.model, str(self.version))
        if release is not None and release.state in _NEVER_LIVE and not is_pinned(release):
            registry.set_state(self.model, release.version, ReleaseState.FAILED, reason=str(failure))


def _error(context: Context, task_id: str) -> str:
    """Return the type of error that a task failed with."""
    failure = first_failure(context, [task_id])
    return failure.error if failure else ""
