"""The verbs of the API server on any resource: create, get, list, update, patch, apply, delete."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

from tests.doubles.kubernetes import managed_fields, patches
from tests.doubles.kubernetes.errors import (
    ApiError,
    bad_request,
    conflict,
    forbidden,
    invalid,
    method_not_allowed,
    no_such_resource,
    too_old,
    unsupported_media_type,
)
from tests.doubles.kubernetes.requests import Request, Target
from tests.doubles.kubernetes.resources import DEFINITIONS, NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from tests.doubles.kubernetes.schemas import undeclared
from tests.doubles.kubernetes.selectors import selector
from tests.doubles.kubernetes.store import Object, Store

_APPLY = "application/apply-patch+yaml"
_STRATEGIC = "application/strategic-merge-patch+json"
_PATCHES: dict[str, Callable[[Any, Any], Any]] = {
    "application/merge-patch+json": patches.merge_patch,
    "application/json-patch+json": patches.json_patch,
    _STRATEGIC: patches.strategic_merge_patch,
}


class Api:
    """Reads and writes objects the way an API server does."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collection(self, request: Request, target: Target) -> tuple[int, Object]:
        """Answer a request for ``.../pods``."""
        if request.method == "GET":
            return 200, self._list(request, target)
        if request.method == "POST":
            return 201, self._create(request, target)
        if request.method == "DELETE":
            deleted = self._list(request, target)
            for entry in deleted["items"]:
                with contextlib.suppress(ApiError):
                    metadata = entry["metadata"]
                    self._store.delete(target.resource, metadata.get("namespace", ""), metadata["name"])
            return 200, deleted
        raise method_not_allowed()

    def single(self, request: Request, target: Target) -> tuple[int, Object]:
        """Answer a request for ``.../pods/a-pod`` and its status."""
        if target.subresource and not (target.subresource == "status" and target.resource.has_status):
            raise no_such_resource()
        if request.method == "GET":
            return 200, self._store.get(target.resource, target.namespace, target.name)
        if request.method == "PUT":
            return 200, self._replace(request, target)
        if request.method == "PATCH":
            return self._patch(request, target)
        if request.method == "DELETE" and not target.subresource:
            return 200, self._delete(request, target)
        raise method_not_allowed()

    # Verbs

    def _list(self, request: Request, target: Target) -> Object:
        resource = target.resource
        matches = selector(
            resource, labels=request.query.get("labelSelector", ""), fields=request.query.get("fieldSelector", "")
        )
        with self._store.changed:
            version = self._store.version
            found = [entry for entry in self._store.entries(resource, target.namespace) if matches(entry)]
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        limit, start = request.number("limit") or len(found), 0
        if token := request.query.get("continue"):
            start = self._resume(token)
        if start + limit < len(found):
            metadata |= {"continue": _token(start + limit, version)}
            metadata |= {"remainingItemCount": len(found) - start - limit}
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": metadata,
            "items": found[start : start + limit],
        }

    def _resume(self, token: str) -> int:
        try:
            start, version = json.loads(base64.urlsafe_b64decode(token))
        except ValueError:
            raise bad_request("continue key is not valid: illegal base64 data") from None
        try:
            self._store.changes(PODS, version)
        except ApiError:
            raise too_old(version, self._store.version) from None
        return int(start)

    def _create(self, request: Request, target: Target) -> Object:
        entry = self._readable(request, target.resource)
        asked = entry.get("metadata", {}).get("namespace")
        if target.resource.namespaced and asked not in (None, "", target.namespace):
            raise bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request: {asked}"
            )
        if (entry.get("metadata") or {}).get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if request.query.get("fieldValidation") == "Strict":
            self._check_known(target, entry)
        entry = managed_fields.updated(None, entry, manager=request.manager)
        is_real = not request.query.get("dryRun")
        return self._store.create(target.resource, entry, target.namespace, is_real=is_real)

    def _replace(self, request: Request, target: Target) -> Object:
        entry = self._readable(request, target.resource)
        entry["metadata"] = {**entry.get("metadata", {}), "namespace": target.namespace, "name": target.name}
        if target.resource.custom and not entry["metadata"].get("resourceVersion"):
            why = "Invalid value: 0: must be specified for an update"
            raise invalid(target.resource, target.name, "metadata.resourceVersion", why, "FieldValueInvalid")
        return self._write(request, target, lambda _: entry)

    def _patch(self, request: Request, target: Target) -> tuple[int, Object]:
        if request.content_type == _APPLY:
            return self._apply(request, target)
        usable = {kind: edit for kind, edit in _PATCHES.items() if not (target.resource.custom and kind == _STRATEGIC)}
        if request.content_type not in usable:
            raise unsupported_media_type(", ".join([*usable, _APPLY]))
        edit, change = usable[request.content_type], request.content()
        return 200, self._write(request, target, lambda old: edit(old, change))

    def _apply(self, request: Request, target: Target) -> tuple[int, Object]:
        entry = self._readable(request, target.resource)
        if not request.query.get("fieldManager"):
            why = "Required value: is required for apply patch"
            raise invalid(target.resource, "", "fieldManager", why)
        entry["metadata"] = {**(entry.get("metadata") or {}), "name": target.name}
        with self._store.changed:
            old = self._store.find(target.resource, target.namespace, target.name)
            self._check_declared(target, entry)
            stated = entry["metadata"].pop("resourceVersion", None)
            if old and stated not in (None, old["metadata"]["resourceVersion"]):
                raise conflict(target.resource, target.name)
            new = managed_fields.apply(old, entry, manager=request.manager, force=request.flag("force"))
            if old is None:
                return 201, self._store.create(target.resource, new, target.namespace)
            return 200, self._store.update(target.resource, _keeping_times(new, old))

    def _check_declared(self, target: Target, entry: Object) -> None:
        """:raises ApiError: for fields that a custom resource's definition does not have; other verbs drop them."""
        resource = target.resource
        if lost := [f"{path}: field not declared in schema" for path in self._undeclared(resource, entry)]:
            told = lost[0] if len(lost) == 1 else "\n".join(["errors:", *(f"  {each}" for each in lost)])
            what = f"{target.namespace}/{target.name}; {resource.api_version}, Kind={resource.kind}"
            raise ApiError(500, "", f"failed to create typed patch object ({what}): {told}")

    def _check_known(self, target: Target, entry: Object) -> None:
        """:raises ApiError: as a request with ``fieldValidation=Strict`` gets it."""
        resource = target.resource
        if lost := [f'unknown field "{path.lstrip(".")}"' for path in self._undeclared(resource, entry)]:
            what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise bad_request(f"{what}: strict decoding error: {', '.join(lost)}")

    def _undeclared(self, resource: Resource, entry: Object) -> list[str]:
        definition = self._store.find(DEFINITIONS, "", f"{resource.plural}.{resource.group}")
        if not resource.custom or definition is None:
            return []
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].get("spec") or {}
        return undeclared(entry.get("spec"), schema, ".spec")

    def _delete(self, request: Request, target: Target) -> Object:
        options = request.content() or {}
        preconditions = options.get("preconditions") or {}
        grace = options.get("gracePeriodSeconds", request.number("gracePeriodSeconds"))
        with self._store.changed:
            old = self._store.get(target.resource, target.namespace, target.name)
            for field in ("uid", "resourceVersion"):
                if preconditions.get(field) not in (None, old["metadata"][field]):
                    stated = f"the {field} in the precondition ({preconditions[field]}) does not match the {field} in "
                    raise conflict(target.resource, target.name, f"Precondition failed: {stated}record")
            policy = options.get("propagationPolicy") or request.query.get("propagationPolicy")
            deleted = self._store.delete(
                target.resource,
                target.namespace,
                target.name,
                grace_seconds=grace,
                in_foreground=policy == "Foreground",
            )
            remains = self._store.find(target.resource, target.namespace, target.name)
        if remains or target.resource == PODS:
            return deleted
        details = {"name": target.name, "kind": target.resource.plural, "uid": deleted["metadata"]["uid"]}
        details |= {"group": target.resource.group} if target.resource.group else {}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _write(self, request: Request, target: Target, edit: Callable[[Object], Object]) -> Object:
        with self._store.changed:
            old = self._store.get(target.resource, target.namespace, target.name)
            new = edit(old)
            if new["metadata"].get("name") != target.name:
                why = "Invalid value: field is immutable"
                raise invalid(target.resource, target.name, "metadata.name", why, "FieldValueInvalid")
            if not target.subresource:
                new = _keeping_times(managed_fields.updated(old, new, manager=request.manager), old)
            return self._store.update(target.resource, new, subresource=target.subresource)

    def _readable(self, request: Request, resource: Resource) -> Object:
        entry = request.content()
        if not isinstance(entry, dict):
            raise bad_request("Object 'Kind' is missing in ''")
        stated = (entry.get("apiVersion", resource.api_version), entry.get("kind", resource.kind))
        if stated != (resource.api_version, resource.kind):
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f"the object provided is of {stated[0]} {stated[1]}"
            )
        return {**entry, "apiVersion": resource.api_version, "kind": resource.kind}


def _token(start: int, version: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([start, version]).encode()).decode()


def _keeping_times(new: Object, old: Object) -> Object:
    """Keep the time of managers whose fields are the same, so that a write that changes nothing is none."""
    times = {
        (item["manager"], item["operation"], json.dumps(item["fieldsV1"], sort_keys=True)): item["time"]
        for item in old["metadata"].get("managedFields") or []
    }
    for item in new["metadata"].get("managedFields") or []:
        key = (item["manager"], item["operation"], json.dumps(item["fieldsV1"], sort_keys=True))
        item["time"] = times.get(key, item["time"])
    return new


# What the server fills in and checks when objects of built-in kinds are written


def complete(store: Store) -> Callable[[Resource, Object, Object | None], None]:
    """Return the admission that every cluster has: defaults, service accounts, and the rules of pods."""

    def admit(resource: Resource, new: Object, old: Object | None) -> None:
        if resource == SECRETS:
            for key, value in (new.pop("stringData", None) or {}).items():
                new.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
        if resource == NAMESPACES and old is None:
            new.setdefault("status", {"phase": "Active"})
        if resource == PODS and old is None:
            _complete_pod(store, new)
        if resource == PODS and old is not None:
            _check_pod_change(new, old)

    return admit


def _complete_pod(store: Store, pod: Object) -> None:
    name, spec = pod["metadata"]["name"], pod.get("spec") or {}
    if not spec.get("containers"):
        raise invalid(PODS, name, "spec.containers", "Required value")
    for container in spec.get("initContainers") or []:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
    for index, container in enumerate(spec["containers"]):
        for field in ("name", "image"):
            if not container.get(field):
                raise invalid(PODS, name, f"spec.containers[{index}].{field}", "Required value")
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        known = {volume["name"] for volume in spec.get("volumes") or []}
        for number, mount in enumerate(container.get("volumeMounts") or []):
            if mount["name"] not in known:
                field = f"spec.containers[{index}].volumeMounts[{number}].name"
                raise invalid(PODS, name, field, f'Not found: "{mount["name"]}"', "FieldValueNotFound")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    account = spec.setdefault("serviceAccountName", "default") or "default"
    namespace = pod["metadata"]["namespace"]
    if not store.find(SERVICE_ACCOUNTS, namespace, account):
        why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
        raise forbidden(PODS, name, why)
    pod["status"] = {"phase": "Pending", "qosClass": "Burstable"}


def _check_pod_change(new: Object, old: Object) -> None:
    def fixed(pod: Object) -> Object:
        spec = {key: value for key, value in pod["spec"].items() if key not in ("nodeName", "tolerations")}
        without_image = [{**container, "image": ""} for container in spec["containers"]]
        return {**spec, "containers": without_image}

    if fixed(new) != fixed(old):
        why = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        why += "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions)"
        raise invalid(PODS, new["metadata"]["name"], "spec", why, "FieldValueForbidden")
