"""Katib's objects, reached through the Kubernetes API from inside the pod of the step."""

from __future__ import annotations

from typing import Any

from include.classifier.cluster.api import StepCluster
from include.classifier.search.katib.experiment import EXPERIMENTS, GROUP, OF_EXPERIMENT, TRIALS, VERSION


class Katib(StepCluster):
    """Experiments and Trials of one namespace."""

    rights = "search-in-katib-rbac.yaml"

    def is_served(self) -> bool:
        """Tell whether the cluster has Katib."""
        return {EXPERIMENTS, TRIALS} <= self.served(GROUP, VERSION)

    def find(self, name: str) -> dict[str, Any] | None:
        """Return an Experiment; ``None`` when there is none."""
        return self._call("get_namespaced_custom_object", *self._experiments, name)

    def create(self, body: dict[str, Any], *, is_real: bool = True) -> bool:
        """Create an Experiment; False when one with its name is there.

        :param is_real: False asks whether it would be taken, Katib's webhooks included, and creates nothing.
        """
        how = {} if is_real else {"dry_run": "All"}
        return (
            self._call("create_namespaced_custom_object", *self._experiments, body, passing=(409,), **how) is not None
        )

    def delete(self, name: str) -> None:
        """Delete an Experiment, and with it its Trials and their pods. It may be gone."""
        self._call("delete_namespaced_custom_object", *self._experiments, name, propagation_policy="Background")

    def trials(self, name: str) -> list[dict[str, Any]]:
        """Return an Experiment's Trials, the oldest first."""
        place = (GROUP, VERSION, self.namespace, TRIALS)
        selector = f"{OF_EXPERIMENT}={name}"
        found = self._call("list_namespaced_custom_object", *place, label_selector=selector) or {"items": []}
        return sorted(
            found["items"], key=lambda each: (each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"])
        )

    @property
    def _experiments(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, EXPERIMENTS
