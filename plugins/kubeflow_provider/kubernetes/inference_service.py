"""An InferenceService of any predictor: what people say of it, the object made from that, and what is told of it.

Pure: nothing here asks a cluster. What a cluster must be asked for before something is applied to it, its mode and its
version, stands in ``hooks/_kserve``.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.kubernetes.settings_base import ObjectName, Settings, Text, VariableName
from kubeflow_provider.kubernetes.step_settings import Toleration
from kubeflow_provider.states import DeploymentState

Object = dict[str, Any]
DeploymentMode = Literal["knative", "standard"]

API_VERSION, KIND = "serving.kserve.io/v1beta1", "InferenceService"
#: KServe's name for the container that answers predictions.
CONTAINER = "kserve-container"
#: Who sets fields, in the words of server-side apply. Renaming it makes every InferenceService somebody else's.
FIELD_MANAGER = "airflow-provider-kubeflow"
#: Label of pods that says what they are made from. Renaming it starts the pods of every InferenceService anew.
APPLIED_LABEL = "kubeflow-provider/applied"

#: What pods can be added for. The other mode refuses it, or ignores it without a word.
_METRICS: dict[DeploymentMode, tuple[str, ...]] = {"knative": ("concurrency", "rps"), "standard": ("cpu", "memory")}
_OTHER: dict[DeploymentMode, DeploymentMode] = {"knative": "standard", "standard": "knative"}
#: Of a predictor, what changes without new pods.
_NOT_OF_PODS = frozenset(
    {
        *("canaryTrafficPercent", "minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType"),
        *("autoScaling", "deploymentStrategy"),
    }
)
#: Of metadata, what a server writes itself.
_OF_THE_SERVER = frozenset({"name", "namespace", "labels", "annotations"})

Amount = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$", coerce_numbers_to_str=True)]


class Resources(Settings):
    """What a pod asks for and is allowed, as Kubernetes has it: for example ``cpu``, ``memory``, ``nvidia.com/gpu``."""

    requests: dict[Text, Amount] = Field({}, description="What a node must have left.")
    limits: dict[Text, Amount] = Field({}, description="What a pod gets at most.")


class Predictor(Settings):
    """What serves a model: a model format and where the model lies, or a container of one's own."""

    _called = ("Predictor settings", "predictor")

    model_format: Text | None = Field(None, description="sklearn, onnx, huggingface …; a runtime must know it.")
    model_format_version: Text | None = Field(None, description="None: any.")
    storage_uri: Text | None = Field(
        None,
        description="Where the model lies: s3://, gs://, pvc://, hf://, oci://, https:// or what else KServe has.",
    )
    runtime: ObjectName | None = Field(None, description="ServingRuntime; None: KServe takes one that fits.")
    runtime_version: Text | None = Field(None, description="Tag of the runtime's image; None: the runtime's own.")
    protocol_version: Literal["v1", "v2", "grpc-v1", "grpc-v2"] | None = Field(
        None, description="What users speak. None: KServe decides by the format."
    )
    container: dict[str, Any] | None = Field(
        None, description="Instead of a format: the container, as Kubernetes has it (image, command, ports …)."
    )
    args: tuple[str, ...] = Field((), description="Arguments, after those of the runtime.")
    env: dict[VariableName, str] = Field({}, description="Environment variables; nothing secret.")
    resources: Resources = Field(Resources(), description="What a pod asks for; what is not given KServe decides.")
    min_replicas: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Pods at least; 0, in Knative mode, lets it sleep. None: 1."
    )
    max_replicas: Annotated[int, Field(ge=1)] | None = Field(None, description="Pods at most. None: no limit, or one.")
    scale_metric: Literal["concurrency", "rps", "cpu", "memory"] | None = Field(
        None, description="What pods are added for: the first two in Knative mode, the others in Standard mode."
    )
    scale_target: Annotated[int, Field(ge=1)] | None = Field(None, description="Its value for one pod.")
    container_concurrency: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Requests that a pod is given at once, at most; Knative mode only."
    )
    timeout_seconds: Annotated[int, Field(ge=1)] | None = Field(None, description="Longest request.")
    service_account: ObjectName | None = Field(None, description="Of the pods; carries the Secret of an object store.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that are no obstacle.")
    image_pull_secrets: tuple[ObjectName, ...] = Field((), description="Secrets with the registry's credentials.")
    labels: dict[str, str] = Field({}, description="Labels of the pods.")
    annotations: dict[str, str] = Field({}, description="Annotations of the pods.")
    extra: dict[str, Any] = Field(
        {}, description="Further fields of KServe's predictor, as KServe has them: affinity, volumes, batcher …"
    )

    @model_validator(mode="after")
    def _is_sound(self) -> Predictor:
        problems = [*self._problems_of_kind()]
        if self.storage_uri and "{{" not in self.storage_uri and "://" not in self.storage_uri:
            problems.append("`storage_uri` must be a URI, for example s3://bucket/folder")
        if self.max_replicas is not None and (self.min_replicas or 0) > self.max_replicas:
            problems.append("`min_replicas` is above `max_replicas`")
        if self.scale_target and not self.scale_metric:
            problems.append("`scale_target` needs `scale_metric`")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems_of_kind(self) -> Iterator[str]:
        if (self.model_format is None) is (self.container is None):
            yield "exactly one of `model_format` and `container` says what serves it"
        if self.container is None:
            return
        if not self.container.get("image"):
            yield "`container` needs an `image`"
        of_models = ("model_format_version", "runtime", "runtime_version", "protocol_version")
        if found := [name for name in of_models if getattr(self, name)]:
            yield f"{', '.join(f'`{name}`' for name in found)}: for a model format only"


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceService:
    """What operators and triggers are told of an InferenceService at one moment.

    :param state: of what stands in its spec, not of what answered before that.
    :param reason: why it is FAILED or still PENDING, with the last log lines where there are any.
    :param url: where predictions can be asked for, ``None`` while it has no address.
    :param generation: of its spec; rises with each change.
    """

    name: str
    namespace: str
    state: DeploymentState
    reason: str | None = None
    url: str | None = None
    generation: int | None = None


class Scaled(Protocol):
    """What of the settings of a predictor depends on the mode."""

    @property
    def scale_metric(self) -> str | None: ...
    @property
    def container_concurrency(self) -> int | None: ...
    @property
    def min_replicas(self) -> int | None: ...


def problems_in(mode: DeploymentMode, settings: Scaled) -> list[str]:
    """Return which settings a mode does not take: those that KServe refuses, and those that it would ignore."""
    problems = []
    if settings.scale_metric and settings.scale_metric not in (metrics := _METRICS[mode]):
        only = f"works in {_OTHER[mode].capitalize()} mode only; take {' or '.join(metrics)}"
        problems.append(f"`scale_metric: {settings.scale_metric}` {only}")
    if mode == "standard" and settings.container_concurrency:
        problems.append("`container_concurrency` works in Knative mode only")
    if mode == "standard" and settings.min_replicas == 0:
        problems.append("`min_replicas: 0` works in Knative mode only")
    return problems


def predictor_spec(predictor: Predictor) -> Object:
    """Return KServe's own form of a predictor."""
    spec: Object = {
        "labels": dict(predictor.labels),
        "annotations": dict(predictor.annotations),
        "minReplicas": predictor.min_replicas,
        "maxReplicas": predictor.max_replicas,
        "scaleMetric": predictor.scale_metric,
        "scaleTarget": predictor.scale_target,
        "containerConcurrency": predictor.container_concurrency,
        "timeout": predictor.timeout_seconds,
        "serviceAccountName": predictor.service_account,
        "nodeSelector": predictor.node_selector,
        "tolerations": [_toleration(item.model_dump()) for item in predictor.tolerations],
        "imagePullSecrets": [{"name": name} for name in predictor.image_pull_secrets],
    }
    if predictor.container is None:
        spec["model"] = _model(predictor)
    else:
        spec["containers"] = [_container(predictor)]
    return _given(spec) | copy.deepcopy(predictor.extra)


def inference_service(
    name: str,
    namespace: str,
    predictor: Mapping[str, Any],
    *,
    canary_percent: int | None = None,
    canaries: Sequence[Mapping[str, Any]] = (),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Return an InferenceService.

    :param predictor: in KServe's own form, see :func:`predictor_spec`.
    :param canary_percent: part of the traffic for it while the one before has the rest; Knative mode.
    :param canaries: entries of ``spec.canary`` in KServe's own form; Standard mode, KServe 0.20 and later.
    :param labels: of the InferenceService; KServe copies them to the pods.
    :param annotations: likewise.
    """
    spec: Object = {"predictor": copy.deepcopy(dict(predictor))}
    if canary_percent is not None:
        spec["predictor"]["canaryTrafficPercent"] = canary_percent
    if canaries:
        spec["canary"] = [copy.deepcopy(dict(item)) for item in canaries]
    metadata: Object = {"name": name, "namespace": namespace}
    metadata |= _given({"labels": dict(labels or {}), "annotations": dict(annotations or {})})
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def read_manifest(manifest: Mapping[str, Any], *, name: str | None, namespace: str) -> Object:
    """Return a whole InferenceService that somebody has written, without what only a server writes.

    :param name: that it must have; ``None``: its own.
    :param namespace: that it must have, unless it says none.
    :raises InvalidRequestError: when it is none, or another one.
    """
    metadata, spec = manifest.get("metadata") or {}, manifest.get("spec")
    problems = []
    if (manifest.get("apiVersion"), manifest.get("kind")) != (API_VERSION, KIND):
        problems.append(f"it must be of `apiVersion: {API_VERSION}` and `kind: {KIND}`")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("predictor"), Mapping):
        problems.append("it has no `spec.predictor`")
    own = metadata.get("name")
    if not (own or name) or (own and name and own != name):
        problems.append(f"its name is {own!r}, the task's {name!r}: one of them must be given, or both the same")
    if metadata.get("namespace") not in (None, namespace):
        problems.append(f"its namespace is {metadata['namespace']!r}, the connection's {namespace!r}")
    if problems:
        raise InvalidRequestError(f"The manifest is no InferenceService that can be applied: {'; '.join(problems)}.")
    kept = {key: copy.deepcopy(value) for key, value in metadata.items() if key in _OF_THE_SERVER and value}
    metadata = {**kept, "name": own or name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": copy.deepcopy(dict(spec or {}))}


def marked(service: Mapping[str, Any]) -> Object:
    """Return an InferenceService whose pods say what they are made from.

    The mark is the same as long as the pods are: another number of pods, or part of the traffic, starts none anew.
    """
    made = copy.deepcopy(dict(service))
    metadata = made["metadata"]
    copied = {key: metadata.get(key) or {} for key in ("labels", "annotations")}
    for predictor in predictors(made):
        own = {key: value for key, value in predictor.items() if key not in _NOT_OF_PODS}
        digest = hashlib.sha256(json.dumps([own, copied], sort_keys=True, default=str).encode()).hexdigest()[:16]
        predictor["labels"] = {**(predictor.get("labels") or {}), APPLIED_LABEL: digest}
    return made


def predictors(service: Mapping[str, Any]) -> list[Object]:
    """Return the predictor of an InferenceService and those of its canaries."""
    spec = service.get("spec") or {}
    return [spec["predictor"], *(item["predictor"] for item in spec.get("canary") or [])]


def _model(predictor: Predictor) -> Object:
    model_format = _given({"name": predictor.model_format, "version": predictor.model_format_version})
    return _given(
        {
            "modelFormat": model_format,
            "protocolVersion": predictor.protocol_version,
            "runtime": predictor.runtime,
            "runtimeVersion": predictor.runtime_version,
            "storageUri": predictor.storage_uri,
            **_of_containers(predictor),
        }
    )


def _container(predictor: Predictor) -> Object:
    own = copy.deepcopy(predictor.container or {})
    added = _of_containers(predictor)
    if predictor.storage_uri:
        # By this variable KServe knows what to load for a container of one's own.
        added["env"] = [*added["env"], {"name": "STORAGE_URI", "value": predictor.storage_uri}]
    env = [*(own.get("env") or []), *added.pop("env")]
    return _given({"name": CONTAINER, **added, **own, "args": [*(own.get("args") or []), *predictor.args], "env": env})


def _of_containers(predictor: Predictor) -> Object:
    return {
        "args": list(predictor.args),
        "env": [{"name": name, "value": value} for name, value in predictor.env.items()],
        "resources": _given({"requests": predictor.resources.requests, "limits": predictor.resources.limits}),
        # With it a crash tells its reason in the pod's status; KServe passes that on.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _given(fields: Mapping[str, Any]) -> Object:
    return {key: value for key, value in fields.items() if value is not None and value not in ("", [], {}, ())}


def _toleration(fields: Object) -> Object:
    fields["tolerationSeconds"] = fields.pop("seconds")
    return {key: value for key, value in fields.items() if value not in ("", None)}
