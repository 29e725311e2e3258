"""What KServe's admission webhooks change and refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.doubles.kubernetes.errors import denied, invalid
from tests.doubles.kubernetes.kserve.definitions import OLD_FORMS, SERVICES, definitions, prune
from tests.doubles.kubernetes.kserve.settings import LEGACY_MODES, STANDARD, KServeSettings
from tests.doubles.kubernetes.kserve.templates import CONTAINER
from tests.doubles.kubernetes.resources import Resource
from tests.doubles.kubernetes.store import Object

MODE = "serving.kserve.io/deploymentMode"
_CLASS = "autoscaling.knative.dev/class"
_VALIDATOR = "inferenceservice.kserve-webhook-server.validator"
_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_NOT_IN_CANARIES = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec")


def webhook(settings: KServeSettings) -> Callable[[Resource, Object, Object | None], None]:
    """Return the admission of an installation: pruning by the CRD, defaults, then validation."""
    schemas = {
        entry["spec"]["names"]["plural"]: entry["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for entry in definitions(settings.version)
    }

    def admit(resource: Resource, new: Object, old: Object | None) -> None:
        if resource.plural not in schemas:
            return
        pruned = prune({"spec": new.get("spec") or {}}, schemas[resource.plural])
        new["spec"] = pruned["spec"]
        if resource == SERVICES:
            _check_schema(new)
            if old is None or new["spec"] != old["spec"]:
                _set_defaults(new)
            for why in _problems(new, old, settings):
                raise denied(_VALIDATOR, why)

    return admit


def _check_schema(service: Object) -> None:
    """:raises ApiError: 422 for what the schema of the CRD requires."""
    name = service["metadata"]["name"]
    for field, predictor in _predictors(service["spec"]):
        model = predictor.get("model")
        if model is not None and not (model.get("modelFormat") or {}).get("name"):
            raise invalid(SERVICES, name, f"{field}.model.modelFormat", "Required value")
        number = predictor.get("canaryTrafficPercent")
        if number is not None and not isinstance(number, int):
            why = f'Invalid value: "{type(number).__name__}": must be of type integer'
            raise invalid(SERVICES, name, f"{field}.canaryTrafficPercent", why, "FieldValueTypeInvalid")


def _predictors(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = [("spec.predictor", spec["predictor"])] if spec.get("predictor") else []
    return found + [
        (f"spec.canary[{index}].predictor", entry.get("predictor") or {})
        for index, entry in enumerate(spec.get("canary") or [])
    ]


def _set_defaults(service: Object) -> None:
    for _, predictor in _predictors(service["spec"]):
        for name in OLD_FORMS:
            if (old_form := predictor.pop(name, None)) is not None:
                predictor["model"] = {"modelFormat": {"name": name}, **old_form}
        if (containers := predictor.get("containers")) and (len(containers) == 1 or not containers[0].get("name")):
            containers[0]["name"] = CONTAINER
        if model := predictor.get("model"):
            model.setdefault("name", "")
            model.setdefault("protocolVersion", "v1")
            service["metadata"].setdefault("annotations", {})["modelFormat"] = model["modelFormat"]["name"]
            resources = model.setdefault("resources", {})
            for kind in ("limits", "requests"):
                resources[kind] = {"cpu": "1", "memory": "2Gi"} | resources.get(kind, {})


def _problems(new: Object, old: Object | None, settings: KServeSettings) -> list[str]:
    """Return why a write is refused, in the order in which KServe looks."""
    annotations = new["metadata"].get("annotations") or {}
    mode = annotations.get(MODE, "")
    if settings.number == (0, 16) and old is not None and mode in LEGACY_MODES:
        # 0.16 refuses every update of a service that an older version made, also the one that lets it be deleted.
        return [f'invalid deployment mode "{mode}". Allowed values are: Knative, Standard, ModelMesh']
    if new["metadata"].get("deletionTimestamp"):
        return []
    problems = []
    if not _NAME.match(new["metadata"]["name"]):
        rule = "a InferenceService name must consist of lower case alphanumeric characters or '-', and must start with "
        problems.append(f'the InferenceService "{new["metadata"]["name"]}" is invalid: {rule}alphabetical character')
    fixed = ((old or {}).get("status") or {}).get("deploymentMode")
    if fixed and mode and settings.mode_named(mode) != settings.mode_named(fixed):
        problems.append(f"update rejected: deploymentMode cannot be changed from '{fixed}' to '{mode}'")
    for field, predictor in _predictors(new["spec"]):
        problems += [f"{field}: {why}" if "canary" in field else why for why in _predictor_problems(predictor)]
        if settings.mode_named(mode or settings.default_mode) != STANDARD:
            problems += _problems_without_standard(predictor, annotations)
    if not new["spec"].get("predictor"):
        problems.append("spec.predictor: Required value")
    if new["spec"].get("canary"):
        problems += _canary_problems(new["spec"], mode)
    return problems


def _predictor_problems(predictor: dict[str, Any]) -> list[str]:
    problems = []
    if not predictor.get("model") and not predictor.get("containers"):
        problems.append("exactly one of [Custom, Model] must be specified in PredictorSpec")
    model = predictor.get("model") or {}
    if model.get("storageUri") and model.get("storage"):
        problems.append("storageUri and storage cannot be specified together")
    least, most = predictor.get("minReplicas") or 0, predictor.get("maxReplicas") or 0
    if least < 0:
        problems.append("MinReplicas cannot be less than 0")
    if most < 0:
        problems.append("MaxReplicas cannot be less than 0")
    if most and least > most:
        problems.append("MinReplicas cannot be greater than MaxReplicas")
    if (predictor.get("containerConcurrency") or 0) < 0:
        problems.append("ContainerConcurrency cannot be less than 0")
    if not 0 <= (predictor.get("canaryTrafficPercent") or 0) <= 100:
        problems.append("canaryTrafficPercent must be between 0 and 100")
    return problems


def _problems_without_standard(predictor: dict[str, Any], annotations: dict[str, str]) -> list[str]:
    """Return what is refused unless Standard mode is in the annotation; its defaulter writes only that mode there."""
    problems = []
    if predictor.get("deploymentStrategy") is not None:
        problems.append("customizing deploymentStrategy is only supported for raw deployment mode")
    metric = predictor.get("scaleMetric")
    if metric not in (None, "concurrency", "rps") and annotations.get(_CLASS) != "hpa.autoscaling.knative.dev":
        problems.append(f"[{metric}] is not a supported metric")
    return problems


def _canary_problems(spec: dict[str, Any], mode: str) -> list[str]:
    problems, canaries = [], spec["canary"]
    if mode != STANDARD:
        problems.append(f"spec.canary needs the annotation {MODE}: {STANDARD}")
    names = [entry["predictor"].get("name") for entry in canaries]
    if None in names or len({*names, spec["predictor"].get("name")}) <= len(names):
        problems.append("spec.canary: every canary predictor needs a unique name")
    if sum(entry.get("trafficPercent", 0) for entry in canaries) > 100:
        problems.append("spec.canary: the sum of trafficPercent must not exceed 100")
    for entry in canaries:
        found = [field for field in _NOT_IN_CANARIES if field in entry["predictor"]]
        problems += [f"spec.canary: {field} is not allowed in a canary predictor" for field in found]
        if (entry["predictor"].get("minReplicas") or 0) > (spec["predictor"].get("minReplicas") or 1):
            problems.append("spec.canary: minReplicas of a canary must not exceed that of the stable predictor")
    return problems
