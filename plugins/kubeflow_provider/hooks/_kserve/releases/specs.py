"""Makes InferenceServices: pure functions from a version and its settings to what KServe is given."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.modes import Mode
from kubeflow_provider.hooks._kserve.record import (
    MANAGED_BY,
    MODEL_LABEL,
    NAME_IN_PATHS,
    PROTOCOL,
    VERSION_LABEL,
    origin,
)
from kubeflow_provider.kubernetes.given_predictor import GivenContainer, GivenPredictor
from kubeflow_provider.kubernetes.inference_service import Predictor, Resources, predictor_spec
from kubeflow_provider.kubernetes.inference_service import inference_service as any_inference_service
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from kubeflow_provider.services import ModelVersion

Object = dict[str, Any]

#: Prefixes of ``storageUri`` that the KServe of every supported version reads.
_SCHEMES = ("s3://", "gs://", "hf://", "oci://", "pvc://", "https://", "http://", "hdfs://", "webhdfs://")

#: Tells the server which archive it must find (``include/classifier/serve.py``).
ARCHIVE_SHA256_VARIABLE = "ARCHIVE_SHA256"
#: Tells a server that can say it which version it serves.
VERSION_VARIABLE = "MODEL_VERSION"

#: Settings of a model that are those of any predictor.
_TAKEN_AS_THEY_ARE = (
    *("min_replicas", "max_replicas", "scale_metric", "scale_target", "container_concurrency"),
    *("timeout_seconds", "service_account", "node_selector", "tolerations", "image_pull_secrets"),
)

#: A pod of a revision has the longest name that must fit into a label: ``<model>-candidate-predictor-00001``.
_LONGEST_NAME = 63 - len("-candidate-predictor-00001")


def check_name(model: str) -> None:
    """Find out whether everything that is named after a model can have its name.

    :raises InvalidRequestError: when it is too long.
    """
    if len(model) > _LONGEST_NAME:
        raise InvalidRequestError(
            f"Model name {model!r} has {len(model)} characters; in a cluster {_LONGEST_NAME} are the most, because "
            "Kubernetes allows 63 for `<model>-candidate-predictor-00001`. Give the model a shorter `name`."
        )


def candidate_name(model: str) -> str:
    """Return the name of the InferenceService that a version without users has of its own."""
    return f"{model}-candidate"


def section_of(candidate: ModelVersion) -> str:
    """Return what the settings for a cluster are called where they are written."""
    return "predictor.kserve" if candidate.settings.get("predictor") else "serving.kserve"


def storage_uri(archive_uri: str, storage: Mapping[str, str], *, section: str = "serving.kserve") -> str:
    """Return where a pod finds a package.

    :param archive_uri: where the pipeline has put it.
    :param storage: beginning of a URI -> what stands for it in the cluster; the longest that fits counts.
    :param section: in which the storage is said.
    :raises InvalidRequestError: when no pod could read it there.
    """
    uri = archive_uri
    for beginning in sorted(storage, key=len, reverse=True):
        prefix = beginning.rstrip("/")
        if archive_uri == prefix or archive_uri.startswith(f"{prefix}/"):
            uri = storage[beginning].rstrip("/") + archive_uri.removeprefix(prefix)
            break
    if uri.startswith(_SCHEMES) or ".blob.core.windows.net/" in uri:
        return uri
    raise InvalidRequestError(
        f"No pod can read {uri}. Say in `{section}.storage` what stands for it in the cluster, for example "
        "`{file:///mnt/models: pvc://model-store}`, or let the model store be s3://, gs:// or hf://."
    )


def predictor(candidate: ModelVersion, settings: PredictorSettings, *, mode: Mode | None) -> Object:
    """Return the predictor of a version, as it is in either mode; :func:`for_users` adds what only one takes.

    :param mode: of the service that it is for; ``None`` when it is not known yet.
    :raises InvalidRequestError: naming everything that does not fit the mode, or the archive's place.
    """
    given = GivenPredictor.of(candidate.settings)
    if mode and (problems := settings.problems_in(mode.setting)):
        raise InvalidRequestError(
            f"{section_of(candidate)}: {'; '.join(problems)}; this model is served in {mode} mode."
        )
    amounts = {"cpu": settings.cpu, "memory": settings.memory}
    if settings.gpu:
        amounts[settings.gpu_type] = str(settings.gpu)
    # A model has no business with the Kubernetes API.
    extra: Object = {"automountServiceAccountToken": False}
    if settings.logger:
        extra["logger"] = settings.logger.model_dump()
    if batcher := settings.batcher:
        extra["batcher"] = {"maxBatchSize": batcher.max_batch_size, "maxLatency": batcher.max_latency_ms}
    common = {name: getattr(settings, name) for name in _TAKEN_AS_THEY_ARE}
    made = Predictor(
        storage_uri=storage_uri(candidate.archive_uri, settings.storage, section=section_of(candidate)),
        resources=Resources(requests=amounts, limits=amounts),
        env=settings.env | _told(candidate, given),
        labels={**settings.labels, VERSION_LABEL: candidate.version, MODEL_LABEL: candidate.model},
        annotations=settings.annotations | origin(candidate) | _notes(given),
        extra=extra,
        **_server(given, settings),
        **common,
    )
    return predictor_spec(made)


def _server(given: GivenPredictor | None, settings: PredictorSettings) -> Object:
    """Return what serves a version: the runtime of our archives, or the given predictor."""
    if given is None:
        return {"model_format": "pytorch", "protocol_version": settings.protocol, "runtime": settings.runtime}
    if given.container:
        return {"container": _container(given.container)}
    return {"model_format": given.format, "protocol_version": given.protocol, "runtime": given.runtime}


def _container(container: GivenContainer) -> Object:
    return {
        "image": container.image,
        "command": list(container.command),
        "args": list(container.args),
        "env": [{"name": name, "value": value} for name, value in container.env.items()],
        "ports": [{"containerPort": container.port, "protocol": "TCP"}],
        # As a namespace wants it that enforces `restricted`.
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _told(candidate: ModelVersion, given: GivenPredictor | None) -> dict[str, str]:
    # The digest of what KServe alone reads is that of its address, and not of files.
    is_files = not candidate.archive_uri.startswith(("hf://", "oci://"))
    told = {ARCHIVE_SHA256_VARIABLE: candidate.archive_sha256} if is_files else {}
    return told | ({VERSION_VARIABLE: candidate.version} if given else {})


def _notes(given: GivenPredictor | None) -> dict[str, str]:
    if given is None:
        return {}
    return {PROTOCOL: given.protocol} | ({NAME_IN_PATHS: given.model_name} if given.model_name else {})


def inference_service(
    name: str,
    namespace: str,
    spec: Object,
    *,
    annotations: Mapping[str, str],
    labels: Mapping[str, str] | None = None,
) -> Object:
    """Return an InferenceService that does not exist yet.

    :param spec: its predictor.
    :param annotations: for what can be said only once, the deployment mode and tags of revisions.
    :param labels: of others, besides ours.
    """
    annotations = {"serving.kserve.io/enable-tag-routing": "true", **annotations}
    return any_inference_service(
        name, namespace, spec, labels={**(labels or {}), **MANAGED_BY}, annotations=annotations
    )


def for_users(spec: Object, mode: Mode | None) -> Object:
    """Return the predictor for the service that users call.

    :param mode: of that service; KServe refuses a strategy where the mode is not Standard, or is not said.
    """
    if mode is not Mode.STANDARD:
        return {key: value for key, value in spec.items() if key != "deploymentStrategy"}
    # Kubernetes' own default takes a quarter of the old pods away before new ones are ready.
    update = {"maxUnavailable": 0, "maxSurge": "25%"}
    return spec | {"deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": update}}


def as_candidate(spec: Object) -> Object:
    """Return the predictor for a version without users: one pod, which does not go to sleep."""
    spec = copy.deepcopy(spec) | {"minReplicas": 1, "maxReplicas": 1}
    for key in ("scaleMetric", "scaleTarget", "logger", "deploymentStrategy"):
        spec.pop(key, None)
    return spec
