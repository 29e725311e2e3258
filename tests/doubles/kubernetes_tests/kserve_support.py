"""Clusters with KServe, and what the tests ask them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.doubles.kubernetes import Cluster, FakeModels, KServeSettings, Lags, cluster

GROUP = ("serving.kserve.io", "v1beta1", "models", "inferenceservices")
SERVING_IMAGE = "serving:1.0"
OLD, NEW = "20260101000000", "20260202000000"


class Serving:
    """One InferenceService called ``reviews`` on a cluster of the double."""

    def __init__(self, k8s: Cluster, models: FakeModels, mode: str) -> None:
        from kubernetes import client

        self.k8s = k8s
        self.models = models
        self.mode = mode
        self.api = k8s.api_client()
        self.custom = client.CustomObjectsApi(self.api)
        self.core = client.CoreV1Api(self.api)
        self._users = httpx.Client()

    def body(self, version: str, *, mode: str = "", **predictor: Any) -> dict[str, Any]:
        model = {
            "modelFormat": {"name": "pytorch"},
            "runtime": "torchserve",
            "storageUri": f"pvc://models/reviews/{version}/package",
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
        metadata = {"name": "reviews", "annotations": {"serving.kserve.io/deploymentMode": mode or self.mode}}
        spec = {"predictor": {"minReplicas": 1, "model": model, **predictor}}
        return {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": metadata,
            "spec": spec,
        }

    def create(self, version: str = OLD, **predictor: Any) -> dict[str, Any]:
        return dict(self.custom.create_namespaced_custom_object(*GROUP, self.body(version, **predictor)))

    def patch(self, **predictor: Any) -> dict[str, Any]:
        """Merge-patch the predictor; a version is short for its storage URI."""
        if version := predictor.pop("version", None):
            predictor["model"] = {"storageUri": f"pvc://models/reviews/{version}/package"}
        return dict(self.custom.patch_namespaced_custom_object(*GROUP, "reviews", {"spec": {"predictor": predictor}}))

    def get(self) -> dict[str, Any]:
        return dict(self.custom.get_namespaced_custom_object(*GROUP, "reviews"))

    def status(self) -> dict[str, Any]:
        return dict(self.get().get("status", {}))

    def component(self) -> dict[str, Any]:
        return dict(self.status().get("components", {}).get("predictor", {}))

    def condition(self, kind: str = "Ready") -> dict[str, Any]:
        found = [item for item in self.status().get("conditions", []) if item["type"] == kind]
        return found[0] if found else {"status": ""}

    def is_ready(self) -> bool:
        return self.condition()["status"] == "True"

    def ask(self, text: str = "a good place", *, host: str = "", path: str = "", **options: Any) -> httpx.Response:
        """Ask through the gateway."""
        url = self.k8s.kserve.gateway_url + (path or "/v1/models/reviews:predict")
        host = host or self.status().get("url", "http://unknown").removeprefix("http://")
        headers = {"Host": host, **options.pop("headers", {})}
        return self._users.post(url, json={"instances": [text]}, headers=headers, timeout=30, **options)

    def version(self, **options: Any) -> str | None:
        """Return which version answers, ``None`` when none does."""
        answer = self.ask(**options)
        return str(answer.json()["predictions"][0]["version"]) if answer.status_code == 200 else None

    def crash(self) -> Any:
        """Return how a container of the service ended that was started again since, ``None`` when none did."""
        pods = self.core.list_namespaced_pod("models", label_selector="serving.kserve.io/inferenceservice=reviews")
        statuses = [status for pod in pods.items for status in pod.status.container_statuses or []]
        return next((status.last_state.terminated for status in statuses if status.restart_count), None)

    def reasons(self) -> set[str]:
        return {event.reason for event in self.core.list_namespaced_event("models").items}


@contextmanager
def serving(
    mode: str = "Knative", *, speed: float = 20, lags: Lags | None = None, **settings: Any
) -> Iterator[Serving]:
    """Yield a cluster with KServe, a claim and a runtime."""
    models = FakeModels()
    made = cluster(
        images={SERVING_IMAGE: models},
        speed=speed,
        lags=lags or Lags(back_off_seconds=2),
        kserve=KServeSettings(**settings),
    )
    with made as k8s:
        k8s.add_claim("models")
        k8s.kserve.add_runtime("torchserve", SERVING_IMAGE)
        yield Serving(k8s, models, mode)


def refusal(error: Any) -> str:
    """Return the message of a refused request."""
    return str(json.loads(error.value.body)["message"])
