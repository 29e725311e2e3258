"""What KServe is asked, and what it makes of a service that works, of one whose pods crash and of one of no runtime."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.capturing.recording import Recorder

MODE = "serving.kserve.io/deploymentMode"
_SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices"

#: Predictors that the validating webhook refuses unless the service is in Standard mode, by what they are called.
_STANDARD_ONLY = {
    "a strategy in Knative mode": {"deploymentStrategy": {"type": "Recreate"}},
    "the processor as metric in Knative mode": {"scaleMetric": "cpu"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One recording, in Standard mode.

    :param namespace: has the runtime of ``deploy/serving-runtime.yaml``.
    :param package: storage URI of a package that can be served. :param nothing: one where there is none.
    :param name: of the service that works, and part of the names of the others.
    :param pause_seconds: between two looks at what is waited for.
    """

    namespace: str
    package: str
    nothing: str
    runtime: str = "kubeflow-model-release"
    name: str = "reviews"
    pause_seconds: float = 2

    def tell(self, recorder: Recorder) -> None:
        """Ask everything, and leave nothing behind."""
        services = _SERVICES.format(self.namespace)
        for what, predictor in _STANDARD_ONLY.items():
            body = self._service(self.name, self.package, mode="Knative", **predictor)
            recorder.ask(what, "POST", f"{services}?dryRun=All", body)
        recorder.ask("a service that is not there", "GET", f"{services}/nobody")
        broken, alone = f"{self.name}-broken", f"{self.name}-alone"
        try:
            for name, package, runtime in (
                (self.name, self.package, self.runtime),
                (broken, self.nothing, self.runtime),
                (alone, self.package, "no-such-runtime"),
            ):
                recorder.do("POST", services, self._service(name, package, runtime=runtime))
            self._record(recorder, self.name, "a service that is ready", _is_ready, "its deployment", "its pods")
            self._record(recorder, broken, "a service whose pods crash", _crashes, "", "the pods of it")
            self._record(recorder, alone, "a service whose runtime is not there", _is_invalid)
        finally:
            for name in (self.name, broken, alone):
                recorder.do("DELETE", f"{services}/{name}")

    def _record(
        self,
        recorder: Recorder,
        name: str,
        what: str,
        is_there: Callable[[Any, Any], bool],
        deployment: str = "",
        pods: str = "",
    ) -> None:
        """Wait for a state, then keep the service and what belongs to it, where that has a name."""
        service = f"{_SERVICES.format(self.namespace)}/{name}"
        selector = f"labelSelector=serving.kserve.io/inferenceservice={name}"
        its_pods = f"/api/v1/namespaces/{self.namespace}/pods?{selector}"
        while not is_there(recorder.do("GET", service), recorder.do("GET", its_pods)):
            time.sleep(self.pause_seconds)
        recorder.ask(what, "GET", service)
        if deployment:
            recorder.ask(deployment, "GET", f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}-predictor")
        if pods:
            recorder.ask(pods, "GET", its_pods)

    def _service(
        self, name: str, package: str, *, mode: str = "Standard", runtime: str = "", **predictor: Any
    ) -> dict[str, Any]:
        size = {"cpu": "500m", "memory": "2Gi"}
        model = {
            "modelFormat": {"name": "pytorch"},
            "protocolVersion": "v1",
            "runtime": runtime or self.runtime,
            "storageUri": package,
            "env": [{"name": "ARCHIVE_SHA256", "value": ""}],
            "resources": {"requests": size, "limits": size},
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}
        standard = {"deploymentStrategy": strategy} if mode == "Standard" else {}
        return {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name, "annotations": {MODE: mode}},
            "spec": {
                "predictor": {
                    "minReplicas": 1,
                    "maxReplicas": 1,
                    "automountServiceAccountToken": False,
                    "model": model,
                    **standard,
                    **predictor,
                }
            },
        }


def version_of(recorder: Recorder) -> str:
    """Return the version of KServe, which stands in the tag of its storage initializer's image, or ``unknown``."""
    path = "/api/v1/namespaces/kserve/configmaps/inferenceservice-config"
    text = recorder.do("GET", path).get("data", {}).get("storageInitializer", "")
    found = re.search(r":v(\d+\.\d+\.\d+)", text)
    return found[1] if found else "unknown"


def _is_ready(service: Any, pods: Any) -> bool:
    status = service.get("status", {})
    is_true = {entry["type"] for entry in status.get("conditions", []) if entry["status"] == "True"}
    return {"Ready", "PredictorReady", "IngressReady"} <= is_true and _transition(service) == "UpToDate"


def _crashes(service: Any, pods: Any) -> bool:
    containers = [entry for pod in pods["items"] for entry in pod.get("status", {}).get("containerStatuses", [])]
    waiting = [entry["state"].get("waiting", {}).get("reason") for entry in containers]
    has_ended = any("terminated" in entry.get("lastState", {}) for entry in containers)
    return bool(service.get("status")) and "CrashLoopBackOff" in waiting and has_ended


def _is_invalid(service: Any, pods: Any) -> bool:
    return _transition(service) == "InvalidSpec"


def _transition(service: Any) -> str:
    return str(service.get("status", {}).get("modelStatus", {}).get("transitionStatus", ""))
