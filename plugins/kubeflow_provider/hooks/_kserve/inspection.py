"""Looks at an InferenceService and all that belongs to it, and says what is the matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.modes import Mode, mode_of
from kubeflow_provider.hooks._kserve.observation import Observation
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks._kserve.readiness import Verdict, judge
from kubeflow_provider.states import DeploymentState

Object = dict[str, Any]

_LOG_LINES = 20


class Inspector:
    """Asks the cluster for whatever a verdict needs.

    :param api: of the cluster.
    :param patience: with what may heal.
    """

    def __init__(self, api: ClusterApi, patience: Patience) -> None:
        self._api = api
        self._patience = patience

    def verdict(self, service: Object) -> Verdict:
        """Judge what stands in a service's spec by what Kubernetes says about it."""
        return self.look(service)[1]

    def look(self, service: Object) -> tuple[Observation, Verdict]:
        """Return what is to be seen of a service, and the verdict."""
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

    def reason(self, verdict: Verdict) -> str | None:
        """Return why it is not ready; why it failed with the last lines of its log."""
        trouble = verdict.trouble
        if verdict.state is not DeploymentState.FAILED or trouble is None or trouble.pod is None:
            return verdict.reason
        tail = self._api.log(trouble.pod, trouble.container, previous=trouble.has_crashed, lines=_LOG_LINES).strip()
        return f"{verdict.reason}\nLast log lines:\n{tail}" if tail else verdict.reason
