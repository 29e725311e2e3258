"""The registry's own controller of InferenceServices, as the source of 7 August 2026 has it, between two doubles.

It makes a record of each service that has a label of a model, and labels the service with the record's id; it looks up
the record of one that has that label already, and changes no label then. A finalizer lets it see deletions.
"""

from __future__ import annotations

from typing import Any

import httpx

from tests.doubles.kubernetes import Cluster
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.doubles.model_registry import ModelRegistry

_PREFIX = "modelregistry.kubeflow.org/"
_MODEL, _VERSION, _RECORD = (
    f"{_PREFIX}{name}" for name in ("registered-model-id", "model-version-id", "inference-service-id")
)
_FINALIZER = f"{_PREFIX}finalizer"


class RegistryController:
    """Watches the services of a cluster.

    :param k8s: the cluster. :param registry: the only one in it.
    """

    def __init__(self, k8s: Cluster, registry: ModelRegistry) -> None:
        self._k8s = k8s
        self._people = httpx.Client(base_url=f"{registry.url}/api/model_registry/v1alpha3")

    def close(self) -> None:
        """Go away."""
        self._people.close()

    def reconcile(self) -> None:
        """Look at every service once."""
        for service in self._k8s.store.entries(SERVICES):
            labels = service["metadata"].get("labels") or {}
            if _MODEL in labels or _RECORD in labels:
                self._reconcile(service, labels)

    def _reconcile(self, service: dict[str, Any], labels: dict[str, str]) -> None:
        metadata = service["metadata"]
        if metadata.get("deletionTimestamp"):
            if _RECORD in labels:
                self._change(labels[_RECORD], {"desiredState": "UNDEPLOYED"})
            self._edit(service, _let_go)
            return
        if _FINALIZER not in (metadata.get("finalizers") or []):
            self._edit(service, lambda found: found["metadata"].setdefault("finalizers", []).append(_FINALIZER))
        url = (service.get("status") or {}).get("url", "")
        if _RECORD not in labels:
            record = self._make(service, labels, url)
            self._edit(service, lambda found: found["metadata"]["labels"].update({_RECORD: record}))
            return
        found = self._people.get(f"/inference_services/{labels[_RECORD]}").raise_for_status().json()
        properties = found.get("customProperties") or {}
        if properties.get("url", {}).get("string_value", "") != url:
            self._change(labels[_RECORD], {"customProperties": {**properties, "url": _text(url)}})

    def _make(self, service: dict[str, Any], labels: dict[str, str], url: str) -> str:
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        found = self._people.get("/serving_environment", params={"name": namespace})
        if not found.is_success:
            found = self._people.post("/serving_environments", json={"name": namespace}).raise_for_status()
        body = {"name": f"{name}/{service['metadata']['uid']}", "servingEnvironmentId": found.json()["id"]}
        body |= {"registeredModelId": labels[_MODEL], "desiredState": "DEPLOYED"}
        body |= {"modelVersionId": labels[_VERSION]} if labels.get(_VERSION) else {}
        made = self._people.post("/inference_services", json=body | {"customProperties": {"url": _text(url)}})
        return str(made.raise_for_status().json()["id"])

    def _change(self, record: str, body: dict[str, Any]) -> None:
        self._people.patch(f"/inference_services/{record}", json=body).raise_for_status()

    def _edit(self, service: dict[str, Any], edit: Any) -> None:
        self._k8s.store.change(SERVICES, service["metadata"]["namespace"], service["metadata"]["name"], edit)


def _let_go(service: dict[str, Any]) -> None:
    service["metadata"]["finalizers"] = [
        name for name in service["metadata"].get("finalizers") or [] if name != _FINALIZER
    ]


def _text(value: str) -> dict[str, str]:
    return {"metadataType": "MetadataStringValue", "string_value": value}
