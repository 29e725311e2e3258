"""The objects of a cluster, with the resource versions and the history that watches read."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.errors import already_exists, conflict, invalid, not_found, too_old
from tests.doubles.kubernetes.objects import copied, frozen, thawed
from tests.doubles.kubernetes.resources import BUILT_IN, NAMESPACES, PODS, Resource

Object = dict[str, Any]

#: Holds what is deleted after what it owns.
_FOREGROUND = "foregroundDeletion"

#: Looks at a write before it is stored: may change the new object, or refuse by raising. No old one at creation.
Admission = Callable[[Resource, Object, "Object | None"], None]


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the history of a kind. ``before`` lets a watch with a selector tell who entered and who left."""

    version: int
    type: str
    now: Object
    before: Object | None


class Store:
    """What etcd and the generic part of an API server do. Objects that it returns are copies."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.resources: list[Resource] = list(BUILT_IN)
        self.admissions: list[Admission] = []
        #: Frozen: whoever reads one gets a copy of his own.
        self._objects: dict[Resource, dict[tuple[str, str], bytes]] = {}
        self._history: dict[Resource, list[Change]] = {}
        self._version = 100
        self._compacted = 0

    # Reading

    @property
    def version(self) -> int:
        return self._version

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """:raises ApiError: 404 when it is not there."""
        if (found := self.find(resource, namespace, name)) is None:
            raise not_found(resource, name)
        return found

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        with self.changed:
            found = self._objects.get(resource, {}).get((_scope(resource, namespace), name))
            return None if found is None else thawed(found)

    def entries(self, resource: Resource, namespace: str = "", *, by_age: bool = False) -> list[Object]:
        """Return the objects of a namespace, or of all when it is empty.

        :param by_age: the oldest first, instead of in the order of their names.
        """
        with self.changed:
            found = list(self._objects.get(resource, {}).items())
            found = found if by_age else sorted(found, key=lambda item: item[0])
            return [thawed(entry) for (scope, _), entry in found if not namespace or scope == namespace]

    def changes(self, resource: Resource, since: int) -> list[Change]:
        """:raises ApiError: 410 when the history does not reach back that far."""
        with self.changed:
            if since < self._compacted:
                raise too_old(since, self._compacted)
            return [change for change in self._history.get(resource, []) if change.version > since]

    def compact(self) -> None:
        """Forget the history up to now, as etcd does after five minutes: older watches get a 410."""
        with self.changed:
            self._compacted = self._version
            self._history.clear()
            self.changed.notify_all()

    # Writing

    def create(self, resource: Resource, entry: Object, namespace: str = "", *, is_real: bool = True) -> Object:
        """Store a new object. Its name may be generated.

        :param is_real: False does everything but store it, as ``dryRun=All`` does.
        :raises ApiError: 404 for an unknown namespace, 409 for a taken name, 422 for none; what admission refuses.
        """
        entry = copied(entry)
        metadata = entry.setdefault("metadata", {})
        with self.changed:
            if resource.namespaced:
                self.get(NAMESPACES, "", namespace)
                metadata["namespace"] = namespace
            if not metadata.get("name"):
                if not metadata.get("generateName"):
                    raise invalid(resource, "", "metadata.name", "Required value: name or generateName is required")
                metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
            if self.find(resource, namespace, metadata["name"]):
                raise already_exists(resource, metadata["name"])
            metadata |= {"uid": str(uuid4()), "creationTimestamp": timestamp()}
            if resource.has_status:
                metadata["generation"] = 1
                if resource.custom:
                    entry.pop("status", None)
            for admit in self.admissions:
                admit(resource, entry, None)
            if is_real:
                self._put(resource, entry, "ADDED", None)
            return copied(entry)

    def update(self, resource: Resource, entry: Object, *, subresource: str = "") -> Object:
        """Replace an object, or only its status.

        :raises ApiError: 409 when the object says a resource version that is not the present one.
        """
        entry = copied(entry)
        metadata = entry["metadata"]
        with self.changed:
            old = self.get(resource, metadata.get("namespace", ""), metadata["name"])
            if metadata.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
                raise conflict(resource, metadata["name"])
            if metadata.get("uid") not in (None, "", old["metadata"]["uid"]):
                raise conflict(resource, metadata["name"], "the UID in the precondition does not match")
            new = _merged(resource, entry, old, subresource)
            if not subresource:
                for admit in self.admissions:
                    admit(resource, new, old)
            if new == old:
                return old
            if resource.has_status and _desired(new) != _desired(old):
                new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
            if new["metadata"].get("deletionTimestamp") and _is_released(resource, new):
                self._remove(resource, new)
            else:
                self._put(resource, new, "MODIFIED", old)
            return copied(new)

    def change(
        self, resource: Resource, namespace: str, name: str, edit: Callable[[Object], None], *, subresource: str = ""
    ) -> Object | None:
        """Edit the present object in place, as a controller that retries until there is no conflict.

        :return: the new object; ``None`` when there is none (any more).
        """
        with self.changed:
            if (entry := self.find(resource, namespace, name)) is None:
                return None
            edit(entry)
            return self.update(resource, entry, subresource=subresource)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        grace_seconds: int | None = None,
        in_foreground: bool = False,
    ) -> Object:
        """Remove an object, or mark it as going away while finalizers or a running pod hold it.

        :param in_foreground: it stays until what it owns is gone.
        :raises ApiError: 404 when it is not there.
        """
        with self.changed:
            old = self.get(resource, namespace, name)
            if in_foreground and resource != PODS:
                return self._delete_in_foreground(resource, old)
            grace = _grace(resource, old, grace_seconds)
            if not old["metadata"].get("finalizers") and grace == 0:
                self._remove(resource, old)
                return old
            if old["metadata"].get("deletionTimestamp"):
                return old
            going = copied(old)
            going["metadata"] |= {"deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": grace}
            self._put(resource, going, "MODIFIED", old)
            return copied(going)

    # Internals

    def _put(self, resource: Resource, entry: Object, kind: str, before: Object | None) -> None:
        self._version += 1
        entry |= {"apiVersion": resource.api_version, "kind": resource.kind}
        entry["metadata"]["resourceVersion"] = str(self._version)
        metadata = entry["metadata"]
        objects = self._objects.setdefault(resource, {})
        objects[(_scope(resource, metadata.get("namespace", "")), metadata["name"])] = frozen(entry)
        self._record(resource, kind, entry, before)

    def _remove(self, resource: Resource, entry: Object) -> None:
        self._version += 1
        metadata = entry["metadata"]
        self._objects[resource].pop((_scope(resource, metadata.get("namespace", "")), metadata["name"]), None)
        gone = copied(entry)
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._record(resource, "DELETED", gone, entry)
        for kind, dependent in self._owned_by(metadata["uid"]):
            self.delete(kind, dependent["metadata"].get("namespace", ""), dependent["metadata"]["name"])
        for owner in metadata.get("ownerReferences") or []:
            self._release(owner["uid"])

    def _delete_in_foreground(self, resource: Resource, old: Object) -> Object:
        going = copied(old)
        metadata = going["metadata"]
        if not metadata.get("deletionTimestamp"):
            metadata |= {"deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": 0}
            metadata["finalizers"] = [*(metadata.get("finalizers") or []), _FOREGROUND]
            self._put(resource, going, "MODIFIED", old)
            for kind, dependent in self._owned_by(metadata["uid"]):
                place = dependent["metadata"]
                self.delete(kind, place.get("namespace", ""), place["name"], in_foreground=True)
            self._release(metadata["uid"])
        return copied(going)

    def _release(self, uid: str) -> None:
        """Let an object go that was deleted in the foreground, and owns nothing any more."""
        for resource, kept in list(self._objects.items()):
            for ice in list(kept.values()):
                metadata = thawed(ice)["metadata"] if uid.encode() in ice else {}
                is_held = metadata.get("uid") == uid and _FOREGROUND in (metadata.get("finalizers") or [])
                if is_held and not any(self._owned_by(uid)):
                    left = [each for each in metadata["finalizers"] if each != _FOREGROUND]
                    space, name = metadata.get("namespace", ""), metadata["name"]
                    self.change(
                        resource, space, name, lambda entry, left=left: entry["metadata"].update(finalizers=left)
                    )

    def _record(self, resource: Resource, kind: str, entry: Object, before: Object | None) -> None:
        change = Change(self._version, kind, copied(entry), copied(before))
        self._history.setdefault(resource, []).append(change)
        self.changed.notify_all()

    def _owned_by(self, uid: str) -> Iterator[tuple[Resource, Object]]:
        for resource in list(self._objects):
            for entry in self.entries(resource):
                if any(owner["uid"] == uid for owner in entry["metadata"].get("ownerReferences") or []):
                    yield resource, entry


def _scope(resource: Resource, namespace: str) -> str:
    return namespace if resource.namespaced else ""


def _merged(resource: Resource, entry: Object, old: Object, subresource: str) -> Object:
    """Return what the write really changes: a client cannot set what the server keeps."""
    if subresource == "status":
        return {**old, "status": entry.get("status", {})}
    kept = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
    metadata = {key: value for key, value in entry["metadata"].items() if key not in kept}
    metadata |= {key: old["metadata"][key] for key in kept if key in old["metadata"]}
    metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
    new = {**entry, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    if resource.has_status:
        new.pop("status", None)
        new |= {"status": old["status"]} if "status" in old else {}
    return new


def _desired(entry: Object) -> Object:
    return {key: value for key, value in entry.items() if key not in ("metadata", "status")}


def _grace(resource: Resource, entry: Object, asked: int | None) -> int:
    """Return the seconds a pod has to end; nothing else, and no pod that is over or has no node, gets any."""
    if resource != PODS or entry.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    if not entry["spec"].get("nodeName"):
        return 0
    return int(entry["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked)


def _is_released(resource: Resource, entry: Object) -> bool:
    return not entry["metadata"].get("finalizers") and resource != PODS
