"""What a release is told of a version: the verdict of Kubernetes, and a prediction."""

from __future__ import annotations

from functools import partial
from typing import Any

from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.doors import Doors
from kubeflow_provider.hooks._kserve.inspection import Inspector
from kubeflow_provider.hooks._kserve.observation import Observation
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks._kserve.record import Record
from kubeflow_provider.hooks._kserve.releases.proof import answers, prove
from kubeflow_provider.services import Deployment
from kubeflow_provider.states import DeploymentState

Object = dict[str, Any]

_PROOF_SECONDS = 10


class VersionInspector(Inspector):
    """Judges versions of a model.

    :param api: of the cluster.
    :param doors: the way that predictions take.
    :param patience: with what may heal.
    """

    def __init__(self, api: ClusterApi, doors: Doors, patience: Patience) -> None:
        super().__init__(api, patience)
        self._doors = doors

    def answers(self, model: str, service: Object) -> bool:
        """Tell whether users are answered by the version in a service's spec, whatever else is the matter with it."""
        seen = Observation(service=service, pods=self._api.pods(service["metadata"]["name"]))
        return answers(seen, partial(self._doors.predict, model, service, timeout_seconds=_PROOF_SECONDS))

    def deployment(self, model: str, service: Object, *, is_live: bool) -> Deployment:
        """Judge it by a prediction as well, and tell why it failed with the last lines of its log."""
        seen, verdict = self.look(service)
        # While traffic is split, an answer through the service's address may be the other version's.
        record = Record.of(service)
        if verdict.state is DeploymentState.READY and record.percent is None:
            ask = partial(self._doors.predict, model, service, timeout_seconds=_PROOF_SECONDS)
            verdict = prove(seen, self._patience, ask)
        reason = self.reason(verdict)
        return reachable(model, record.version, verdict.state, is_live=is_live, service=service, reason=reason)


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
    return Deployment(
        model=model, version=version, state=state, is_live=is_live, reason=reason, url=address_of(service)
    )


def address_of(service: Object | None) -> str | None:
    """Return where an InferenceService answers, ``None`` where it does not say."""
    status = (service or {}).get("status") or {}
    return status.get("url") or (status.get("address") or {}).get("url")
