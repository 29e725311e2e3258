"""The complete predictor of every version that may still be needed, as ControllerRevisions.

That is Kubernetes' own object for an earlier state of something: its data never change once written. The
InferenceService itself can hold no history, because whatever stands in its annotations goes to its pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.record import MANAGED_BY, MODEL_LABEL, VERSION_LABEL, Record, unstamped

Object = dict[str, Any]

#: In ControllerRevisions that outlive releases: under another name it would not be found.
_LABELS = "serviceLabels"


class Snapshots:
    """The kept predictors of a namespace.

    :param api: of the cluster.
    """

    def __init__(self, api: ClusterApi) -> None:
        self._api = api

    def get(self, model: str, version: str) -> Object | None:
        """Return the predictor of a version, ``None`` when it is not kept."""
        found = self._api.get_snapshot(_name(model, version))
        return None if found is None else found["data"]["predictor"]

    def service_labels(self, model: str, version: str) -> dict[str, str]:
        """Return the labels that a version gives to the model's service if it has to make it."""
        found = self._api.get_snapshot(_name(model, version))
        return {} if found is None else found["data"].get(_LABELS) or {}

    def put(
        self, model: str, version: str, predictor: Object, *, service_labels: Mapping[str, str] | None = None
    ) -> None:
        """Keep the predictor of a version, instead of another one that was kept for it.

        :param service_labels: of the model's service, should the version have to make it.
        """
        labels = {**MANAGED_BY, MODEL_LABEL: model, VERSION_LABEL: version}
        data = {"predictor": predictor} | ({_LABELS: dict(service_labels)} if service_labels else {})
        self._api.put_snapshot(
            {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {"name": _name(model, version), "labels": labels},
                "data": data,
                "revision": int(version),
            }
        )

    def keep(self, model: str, service: Object) -> None:
        """Keep the version that a service is at, where nobody has: a pipeline that releases by itself does not."""
        record = Record.of(service)
        if record.percent is None and self.get(model, record.version) is None:
            self.put(model, record.version, unstamped(service, model=model, version=record.version))

    def delete(self, model: str, version: str) -> None:
        """Forget a version. Harmless when it is not kept."""
        self._api.delete_snapshot(_name(model, version))


def _name(model: str, version: str) -> str:
    return f"{model}-{version}"
