"""The pod template that a predictor and its runtime make together."""

from __future__ import annotations

import json
from typing import Any

from tests.doubles.kubernetes.kserve.definitions import CLUSTER_RUNTIMES, RUNTIMES
from tests.doubles.kubernetes.kserve.models import SOURCE
from tests.doubles.kubernetes.objects import copied
from tests.doubles.kubernetes.store import Object, Store

CONTAINER = "kserve-container"
INITIALIZER_IMAGE = "kserve/storage-initializer:latest"
QUEUE_PROXY_IMAGE = "knative-releases/queue-proxy:latest"

_PREFIXES = ("gs://", "s3://", "pvc://", "file://", "http://", "https://", "hdfs://", "webhdfs://", "oci://", "hf://")
_SERVICE_KEYS = {"modelFormat", "runtime", "protocolVersion", "runtimeVersion", "storageUri", "storage"}
_PREDICTOR_KEYS = {
    *("model", "minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling"),
    *("canaryTrafficPercent", "containerConcurrency", "timeout", "batcher", "logger", "deploymentStrategy", "labels"),
    *("annotations", "workerSpec", "storageUris", "name"),
}
#: Annotations of a service that do not reach its pods.
_KEPT_FROM_PODS = ("kubectl.kubernetes.io/last-applied-configuration", "modelFormat")


class InvalidSpec(Exception):
    """The model cannot be deployed as it is described.

    :ivar reason: KServe's, for ``lastFailureInfo``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ReconcileError(Exception):
    """Nothing but an event tells about it."""


def render(store: Store, service: Object, predictor: dict[str, Any]) -> Object:
    """Return the metadata and specification of the predictor's pods.

    :raises InvalidSpec: when no runtime fits.
    :raises ReconcileError: when the storage URI has no known form: admission lets that pass.
    """
    model = predictor.get("model")
    pod = {key: copied(value) for key, value in predictor.items() if key not in _PREDICTOR_KEYS}
    annotations = _inherited(service, predictor, "annotations")
    if model:
        runtime = _runtime(store, service["metadata"]["namespace"], model)
        pod = _merge_runtime(pod, runtime, model, service["metadata"]["name"])
        annotations |= runtime.get("annotations") or {}
    container = pod["containers"][0]
    port = (container.get("ports") or [{"containerPort": 8080}])[0]["containerPort"]
    # An open port is all that KServe asks for by default, whether or not there is a model behind it.
    container.setdefault("readinessProbe", {"tcpSocket": {"port": port}})
    if uri := model.get("storageUri") if model else _variable(container, "STORAGE_URI"):
        annotations[SOURCE] = uri
        _mount(pod, uri, annotations)
    labels = _inherited(service, predictor, "labels")
    labels |= {"serving.kserve.io/inferenceservice": service["metadata"]["name"], "component": "predictor"}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}


def _inherited(service: Object, predictor: dict[str, Any], key: str) -> dict[str, str]:
    own = {name: value for name, value in (service["metadata"].get(key) or {}).items() if name not in _KEPT_FROM_PODS}
    return own | (predictor.get(key) or {})


def _variable(container: Object, name: str) -> str | None:
    """Return what a container's variable says: by this one a container of one's own names its model."""
    return next((item.get("value") for item in container.get("env") or [] if item["name"] == name), None)


def _runtime(store: Store, namespace: str, model: dict[str, Any]) -> dict[str, Any]:
    """Return the specification of the runtime that a model names, or the first that fits it."""
    wanted = model["modelFormat"]["name"]
    protocol = model.get("protocolVersion", "v1")
    if name := model.get("runtime"):
        found = store.find(RUNTIMES, namespace, name) or store.find(CLUSTER_RUNTIMES, "", name)
        if not found:
            raise InvalidSpec("RuntimeNotRecognized", "Waiting for runtime to become available")
        runtime = found["spec"]
        if runtime.get("disabled"):
            raise InvalidSpec("RuntimeDisabled", "Specified runtime is disabled")
        if wanted not in _formats(runtime, only_automatic=False) or protocol not in _protocols(runtime):
            raise InvalidSpec("NoSupportingRuntime", "Specified runtime does not support specified framework/version")
        return dict(runtime)
    for entry in [*store.entries(RUNTIMES, namespace), *store.entries(CLUSTER_RUNTIMES)]:
        runtime = entry["spec"]
        fits = wanted in _formats(runtime, only_automatic=True) and protocol in _protocols(runtime)
        if fits and not runtime.get("disabled"):
            return dict(runtime)
    raise InvalidSpec(
        "NoSupportingRuntime", f"No runtime found to support specified predictor with model type: {wanted}"
    )


def _formats(runtime: dict[str, Any], *, only_automatic: bool) -> set[str]:
    listed = runtime.get("supportedModelFormats") or []
    return {entry["name"] for entry in listed if entry.get("autoSelect") or not only_automatic}


def _protocols(runtime: dict[str, Any]) -> list[str]:
    return list(runtime.get("protocolVersions") or ["v1"])


def _merge_runtime(pod: dict[str, Any], runtime: dict[str, Any], model: dict[str, Any], name: str) -> dict[str, Any]:
    """Put the model's container over the runtime's: arguments are appended, variables merged by name."""
    base = next(entry for entry in runtime["containers"] if entry["name"] == CONTAINER)
    base = json.loads(json.dumps(base).replace("{{.Name}}", name))  # a Go template over the service's metadata
    own = {key: value for key, value in model.items() if key not in _SERVICE_KEYS and key != "name"}
    merged = {**copied(base), **copied(own)}
    merged["args"] = [*(base.get("args") or []), *(own.get("args") or [])]
    variables = {entry["name"]: entry for entry in [*(base.get("env") or []), *(own.get("env") or [])]}
    merged["env"] = [*variables.values(), {"name": "INFERENCE_SERVICE_NAME", "value": name}]
    if version := model.get("runtimeVersion"):
        merged["image"] = f"{merged['image'].rsplit(':', 1)[0]}:{version}"
    others = [copied(entry) for entry in runtime["containers"] if entry["name"] != CONTAINER]
    whole: dict[str, Any] = {}
    for key in ("volumes", "imagePullSecrets", "securityContext"):
        if key in runtime:
            whole[key] = copied(runtime[key])
    return {**whole, **pod, "containers": [merged, *others]}


def _mount(pod: dict[str, Any], uri: str, annotations: dict[str, str]) -> None:
    if not uri.startswith(_PREFIXES) and "blob.core.windows.net" not in uri:
        listed = ", ".join(_PREFIXES)
        raise ReconcileError(f"storageUri, must be one of: [{listed}] or match https://{{}}.blob.core.windows.net/{{}}")
    container = pod["containers"][0]
    read_only = annotations.get("storage.kserve.io/readonly", "true") != "false"
    mount = {"name": "kserve-provision-location", "mountPath": "/mnt/models", "readOnly": read_only}
    if uri.startswith("pvc://"):
        claim, _, path = uri.removeprefix("pvc://").partition("/")
        mount |= {"name": "kserve-pvc-source", "subPath": path}
        volume = {"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": claim}}
    else:
        volume = {"name": "kserve-provision-location", "emptyDir": {}}
        initializer = {
            "name": "storage-initializer",
            "image": INITIALIZER_IMAGE,
            "args": [uri, "/mnt/models"],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [{**mount, "readOnly": False}],
        }
        pod["initContainers"] = [*(pod.get("initContainers") or []), initializer]
    pod["volumes"] = [*(pod.get("volumes") or []), volume]
    container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]
