"""KServe's CustomResourceDefinitions, as far as a client looks at them: which fields a version of KServe knows."""

from __future__ import annotations

from typing import Any

from tests.doubles.kubernetes.resources import Resource

GROUP = "serving.kserve.io"
SERVICES = Resource(
    group=GROUP,
    version="v1beta1",
    plural="inferenceservices",
    kind="InferenceService",
    has_status=True,
    custom=True,
    short_names=("isvc",),
)
RUNTIMES = Resource(group=GROUP, version="v1alpha1", plural="servingruntimes", kind="ServingRuntime", custom=True)
#: Where Knative Serving is installed its kinds are found; the double's KServe does without making any.
KNATIVE_SERVICES = Resource(group="serving.knative.dev", plural="services", kind="Service", custom=True)
CLUSTER_RUNTIMES = Resource(
    group=GROUP,
    version="v1alpha1",
    plural="clusterservingruntimes",
    kind="ClusterServingRuntime",
    namespaced=False,
    custom=True,
)

#: Formats that a predictor may name as a field of its own; the webhook makes `model` of them.
OLD_FORMS = (
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)

Schema = dict[str, Any]

_ANY: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_FLAG: Schema = {"type": "boolean"}


def version_of(text: str) -> tuple[int, int]:
    """Return ``(0, 20)`` for ``0.20.1`` or ``v0.20.1``."""
    major, minor, *_ = text.lstrip("v").split(".")
    return int(major), int(minor)


def definitions(version: str) -> list[dict[str, Any]]:
    """Return the definitions that a version of KServe installs."""
    schemas = {SERVICES: _service(version_of(version)), RUNTIMES: _runtime(), CLUSTER_RUNTIMES: _runtime()}
    return [_definition(resource, schema, version) for resource, schema in schemas.items()]


def prune(value: Any, schema: Schema) -> Any:
    """Drop the fields that a schema does not know, silently, as an API server does."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, list) and "items" in schema:
        return [prune(item, schema["items"]) for item in value]
    if isinstance(value, dict) and "properties" in schema:
        return {
            key: prune(item, schema["properties"][key]) for key, item in value.items() if key in schema["properties"]
        }
    return value


def _service(version: tuple[int, int]) -> Schema:
    predictor = _predictor(version)
    spec = {"predictor": predictor, "transformer": _ANY, "explainer": _ANY}
    if version >= (0, 20):
        share = {"trafficPercent": {"type": "integer", "minimum": 0, "maximum": 100}, "predictor": predictor}
        spec["canary"] = {"type": "array", "items": _object(share, required=["predictor", "trafficPercent"])}
    return _object({"spec": _object(spec), "status": _ANY})


def _predictor(version: tuple[int, int]) -> Schema:
    storage = {"key": _TEXT, "path": _TEXT, "parameters": _ANY, "schemaPath": _TEXT}
    container = dict.fromkeys(("name", "image", "imagePullPolicy", "workingDir"), _TEXT)
    container |= dict.fromkeys(("terminationMessagePath", "terminationMessagePolicy"), _TEXT)
    container |= {name: _list(_TEXT) for name in ("args", "command")}
    container |= {name: _list(_ANY) for name in ("env", "envFrom", "ports", "volumeMounts", "volumeDevices")}
    container |= dict.fromkeys(("livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources"), _ANY)
    container |= {"securityContext": _ANY}
    model = container | {"modelFormat": _object({"name": _TEXT, "version": _TEXT}, required=["name"])}
    model |= dict.fromkeys(("runtime", "protocolVersion", "runtimeVersion", "storageUri"), _TEXT)
    model |= {"storage": _object(storage)}
    pod = dict.fromkeys(("serviceAccountName", "schedulerName", "priorityClassName", "nodeName"), _TEXT)
    pod |= {name: _list(_ANY) for name in ("tolerations", "volumes", "imagePullSecrets", "initContainers")}
    pod |= dict.fromkeys(("nodeSelector", "affinity", "securityContext"), _ANY)
    pod |= {"automountServiceAccountToken": _FLAG}
    pod |= {"containers": _list(_object(container)), "terminationGracePeriodSeconds": _NUMBER}
    own = dict.fromkeys(("minReplicas", "maxReplicas", "scaleTarget", "containerConcurrency", "timeout"), _NUMBER)
    own |= {"canaryTrafficPercent": _NUMBER, "scaleMetric": _TEXT, "deploymentStrategy": _ANY, "model": _object(model)}
    own |= dict.fromkeys(("batcher", "logger", "labels", "annotations", "workerSpec", *OLD_FORMS), _ANY)
    if version >= (0, 15):
        own |= {"autoScaling": _ANY, "scaleMetricType": _TEXT}
    if version >= (0, 16):
        own |= {"storageUris": _list(_object({"uri": _TEXT, "mountPath": _TEXT}, required=["uri"]))}
    if version >= (0, 20):
        own |= {"name": _TEXT}
    return _object(pod | own)


def _runtime() -> Schema:
    return _object({"spec": _ANY, "status": _ANY})


def _definition(resource: Resource, schema: Schema, version: str) -> dict[str, Any]:
    whole = {**schema["properties"], "apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}}
    served: dict[str, Any] = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object(whole)},
    }
    if resource.has_status:
        served["subresources"] = {"status": {}}
    names: dict[str, Any] = {"plural": resource.plural, "singular": resource.kind.lower(), "kind": resource.kind}
    names["shortNames"] = list(resource.short_names)
    return {
        "metadata": {
            "name": f"{resource.plural}.{resource.group}",
            "labels": {"app.kubernetes.io/name": "kserve"},
            "annotations": {"controller-gen.kubebuilder.io/version": "v0.19.0"},
        },
        "spec": {
            "group": resource.group,
            "names": {**names, "listKind": f"{resource.kind}List"},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [served],
        },
        "status": {"conditions": [{"type": "Established", "status": "True"}], "storedVersions": [resource.version]},
    }


def _object(properties: dict[str, Any], required: list[str] | None = None) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}
