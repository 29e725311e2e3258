"""Looks at an InferenceService and all that belongs to it, and says what is the matter."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.doors import Doors
from kubeflow_provider.hooks._kserve.modes import Mode, mode_of
from kubeflow_provider.hooks._kserve.observation import Observation
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks._kserve.proof import answers, prove
from kubeflow_provider.hooks._kserve.readiness import Verdict, judge
from kubeflow_provider.services import Deployment
from kubeflow_provider.states import DeploymentState

Object = dict[str, Any]

_LOG_LINES = 20
_PROOF_SECONDS = 10


class Inspector:
    """Asks the cluster for whatever a verdict needs.

    :param api: of the cluster.
    :param doors: the way that predictions take.
    :param patience: with what may heal.
    """

    def __init__(self, api: ClusterApi, doors: Doors, patience: Patience) -> None:
        self._api = api
        self._doors = doors
        self._patience = patience

    def verdict(self, service: Object) -> Verdict:
        """Judge the version in a service's spec by what Kubernetes says about it."""
        return self._look(service)[1]

    def answers(self, model: str, service: Object) -> bool:
        """Tell whether users are answered by the version in a service's spec, whatever else is the matter with it."""
        seen = Observation(service=service, pods=self._api.pods(service["metadata"]["name"]))
        return answers(seen, partial(self._doors.predict, model, service, timeout_seconds=_PROOF_SECONDS))

    def deployment(self, model: str, service: Object, *, is_live: bool) -> Deployment:
        """Judge it by a prediction as well, and tell why it failed with the last lines of its log."""
        seen, verdict = self._look(service)
        # While traffic is split, an answer through the service's address may be the other version's.
        if verdict.state is DeploymentState.READY and seen.record.percent is None:
            ask = partial(self._doors.predict, model, service, timeout_seconds=_PROOF_SECONDS)
            verdict = prove(seen, self._patience, ask)
        reason = self._with_log(verdict)
        return reachable(model, seen.record.version, verdict.state, is_live=is_live, service=service, reason=reason)

    def _look(self, service: Object) -> tuple[Observation, Verdict]:
        name = service["metadata"]["name"]
        is_standard = mode_of(service) is Mode.STANDARD
        deployments = self._api.deployments(name) if is_standard else ()
        seen = Observation(service=service, pods=self._api.pods(name), deployments=deployments)
        verdict = judge(seen, self._patience)
        if verdict.state is DeploymentState.READY:
            return seen, verdict
        # Events tell why; a namespace may have many.
        seen = replace(seen, events=self._api.events())
        return seen, judge(seen, self._patience)

    def _with_log(self, verdict: Verdict) -> str | None:
        trouble = verdict.trouble
        if verdict.state is not DeploymentState.FAILED or trouble is None or trouble.pod is None:
            return verdict.reason
        tail = self._api.log(trouble.pod, trouble.container, previous=trouble.has_crashed, lines=_LOG_LINES).strip()
        return f"{verdict.reason}\nLast log lines:\n{tail}" if tail else verdict.reason


def reachable(
    model: str,
    version: str,
    state: DeploymentState,
    *,
    is_live: bool,
    service: Object | None,
    reason: str | None = None,
) -> Deployment:
    """Return a deployment with the address of the service that it is in."""
    status = (service or {}).get("status") or {}
    url = status.get("url") or (status.get("address") or {}).get("url")
    return Deployment(model=model, version=version, state=state, is_live=is_live, reason=reason, url=url)
