"""What Trainer's webhooks, and the rules of its definitions, say of a TrainJob."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.errors import ApiError, denied
from tests.doubles.kubernetes.kserve.definitions import prune
from tests.doubles.kubernetes.resources import Resource
from tests.doubles.kubernetes.store import Object, Store
from tests.doubles.trainer.definitions import CLUSTER_RUNTIMES, GROUP, RUNTIMES, TRAINJOBS, spec_of_a_trainjob

VALIDATOR, DEFAULTER = (f"{who}.trainjob.trainer.kubeflow.org" for who in ("validator", "defaulter"))

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_NO_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_NO_LABEL = 'Invalid value: "object": metadata.name must match RFC 1035 DNS label format'
_IMMUTABLE = ("initializer", "trainer", "managedBy", "activeDeadlineSeconds")


def admit(store: Store, version: tuple[int, int], new: Object, old: Object | None, *, has_webhooks: bool) -> None:
    """Fill in and check a TrainJob.

    :raises ApiError: as the server says it.
    """
    new["spec"] = prune(new.get("spec") or {}, spec_of_a_trainjob(version))
    if old is not None:
        _check_change(version, new, old)
        return
    _complete(version, new)
    _check_name(new)
    if has_webhooks and (why := _refused(store, version, new)):
        raise denied(VALIDATOR, why)


def _complete(version: tuple[int, int], new: Object) -> None:
    spec = new["spec"]
    processes = (spec.get("trainer") or {}).get("numProcPerNode")
    if version >= (2, 2) and isinstance(processes, str):
        why = "json: cannot unmarshal string into Go struct field Trainer.spec.trainer.numProcPerNode of type int32"
        error = ApiError(400, "", f'admission webhook "{DEFAULTER}" denied the request: {why}')
        del error.status["reason"]
        raise error
    spec.setdefault("managedBy", f"{GROUP}/trainjob-controller")
    spec.setdefault("suspend", False)
    spec["runtimeRef"] = {"apiGroup": GROUP, "kind": "ClusterTrainingRuntime", **spec.get("runtimeRef", {})}
    for patch in spec.get("runtimePatches") or []:
        fields = {"manager": patch.pop("manager", ""), "time": timestamp(), **patch}
        patch.clear()
        patch.update(fields)


def _check_name(new: Object) -> None:
    name = str(new["metadata"]["name"])
    causes = []
    if not re.fullmatch(_SUBDOMAIN, name):
        causes.append(("metadata.name", f'Invalid value: "{name}": {_NO_SUBDOMAIN}'))
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        causes.append(("<nil>", _NO_LABEL))
    if not causes:
        return
    said = [f"{field}: {why}" for field, why in causes]
    whole = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details: dict[str, Any] = {"name": name, "group": GROUP, "kind": "TrainJob"}
    details["causes"] = [{"reason": "FieldValueInvalid", "message": why, "field": field} for field, why in causes]
    raise ApiError(422, "Invalid", f'TrainJob.{GROUP} "{name}" is invalid: {whole}', details)


def _refused(store: Store, version: tuple[int, int], new: Object) -> str:
    spec, space = new["spec"], new["metadata"]["namespace"]
    reference = spec["runtimeRef"]
    kinds: dict[str, tuple[Resource, str, str]] = {
        "TrainingRuntime": (RUNTIMES, space, "runtimeRef"),
        "ClusterTrainingRuntime": (CLUSTER_RUNTIMES, "", "RuntimeRef"),
    }
    if reference["kind"] not in kinds:
        return f"unsupported runtime: {reference['kind']}.{GROUP}"
    resource, where, field = kinds[reference["kind"]]
    if store.find(resource, where, reference["name"]) is None:
        value = json.dumps({key: reference[key] for key in ("name", "apiGroup", "kind")}, separators=(",", ":"))
        what = f'{resource.kind}.{GROUP} "{reference["name"]}" not found: specified '
        what += f"{resource.kind[0].lower()}{resource.kind[1:]} must be created before the TrainJob is created"
        return f"spec.{field}: Invalid value: {value}: {what}"
    variables = (spec.get("trainer") or {}).get("env") or []
    if reserved := [each["name"] for each in variables if each["name"].startswith("PET_")]:
        value = json.dumps(variables, separators=(",", ":"))
        why = f"must not have reserved envs, invalid envs configured: [{' '.join(reserved)}]"
        return f"spec.trainer.env: Invalid value: {value}: {why}"
    return _of_patches(version, spec.get("runtimePatches") or [])


def _of_patches(version: tuple[int, int], patches: list[Object]) -> str:
    for patch in patches:
        if "/" not in patch["manager"]:
            why = 'must be a domain-prefixed path (such as "acme.io/foo")'
            return f'spec.runtimePatches.manager: Invalid value: "{patch["manager"]}": {why}'
    if version >= (2, 3) and any('"env"' in json.dumps(patch) for patch in patches):
        value = json.dumps(patches, separators=(",", ":"))
        why = "must not have envs for the dataset-initializer, model-initializer, node containers"
        return f"spec.runtimePatches: Invalid value: {value}: {why}"
    return ""


def _check_change(version: tuple[int, int], new: Object, old: Object) -> None:
    # Trainer 2.1 takes a change of everything but the runtime, and does nothing with it.
    fixed = ("runtimeRef", *(_IMMUTABLE if version >= (2, 2) else ()))
    for field in fixed:
        if new["spec"].get(field) != old["spec"].get(field):
            name, why = new["metadata"]["name"], 'Invalid value: "object": field is immutable'
            causes = [{"reason": "FieldValueInvalid", "message": why, "field": f"spec.{field}"}]
            details = {"name": name, "group": GROUP, "kind": TRAINJOBS.kind, "causes": causes}
            raise ApiError(422, "Invalid", f'TrainJob.{GROUP} "{name}" is invalid: spec.{field}: {why}', details)
