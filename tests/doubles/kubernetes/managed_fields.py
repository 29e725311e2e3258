"""Server-side apply: every field has managers, and who applies a field of another manager gets a conflict.

Lists are atomic, as they are in custom resources whose schema does not say otherwise.
"""

from __future__ import annotations

from typing import Any

from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.errors import ApiError
from tests.doubles.kubernetes.objects import copied

Path = tuple[str, ...]

#: What identifies the object, and what the server writes itself, belongs to nobody.
_NOT_MANAGED = {"apiVersion", "kind", "status"}
_NOT_MANAGED_METADATA = {
    *("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "generateName"),
}


def apply(old: dict[str, Any] | None, patch: dict[str, Any], *, manager: str, force: bool) -> dict[str, Any]:
    """Return the object after a server-side apply.

    Fields that the manager applied before and leaves out now are removed, unless somebody else holds them too.

    :raises ApiError: 409 naming every field that another manager holds with another value, unless forced.
    """
    patch = copied(patch)
    patch.get("metadata", {}).pop("managedFields", None)
    wanted = leaves(patch)
    owners = _owners(old)
    mine = owners.pop((manager, "Apply"), set())
    present = leaves(old or {})
    taken = [
        (other, path)
        for (other, _), paths in owners.items()
        for path in sorted(paths)
        if (rival := _overlapping(path, wanted)) is not None and wanted[rival] != present.get(path, wanted[rival])
    ]
    if taken and not force:
        raise _conflict(taken, patch["apiVersion"])
    for _, path in taken:
        for paths in owners.values():
            paths.discard(path)
    result = copied(old) if old else {}
    for path in mine - wanted.keys():
        if not any(path in paths for paths in owners.values()):
            _remove(result, path)
    for path, value in wanted.items():
        _set(result, path, value)
    for key in ("apiVersion", "kind"):
        result[key] = patch[key]
    result.setdefault("metadata", {})["name"] = patch["metadata"]["name"]
    owners[(manager, "Apply")] = set(wanted)
    return _with_owners(result, owners)


def updated(old: dict[str, Any] | None, new: dict[str, Any], *, manager: str) -> dict[str, Any]:
    """Return the new object with the manager of a plain create, update or patch noted on what it changed."""
    before, after = leaves(old or {}), leaves(new)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    owners = _owners(old)
    for holder, paths in owners.items():
        owners[holder] = (paths & after.keys()) - (changed if holder[0] != manager else set())
    owners.setdefault((manager, "Update"), set()).update(changed - owners.get((manager, "Apply"), set()))
    return _with_owners(copied(new), owners)


def leaves(entry: Any, path: Path = ()) -> dict[Path, Any]:
    """Return every managed field that is not an object, by its path; an empty object is a field too."""
    if not isinstance(entry, dict) or (path and not entry):
        return {path: entry}
    found: dict[Path, Any] = {}
    for key, value in entry.items():
        if (not path and key in _NOT_MANAGED) or (path == ("metadata",) and key in _NOT_MANAGED_METADATA):
            continue
        if not path and key == "metadata" and not value:
            continue
        found |= leaves(value, (*path, key))
    return found


def _overlapping(path: Path, wanted: dict[Path, Any]) -> Path | None:
    return next((other for other in wanted if other == path or other[: len(path)] == path), None)


def _conflict(taken: list[tuple[str, Path]], api_version: str) -> ApiError:
    listed = [(manager, "".join(f".{part}" for part in path)) for manager, path in taken]
    plural = "s" if len(listed) > 1 else ""
    text = "\n".join(f"- {field}" for _, field in listed)
    holders = sorted({f'"{manager}"' for manager, _ in listed})
    message = f"Apply failed with {len(listed)} conflict{plural}: "
    if len(holders) == 1 and len(listed) == 1:
        message += f"conflict with {holders[0]} using {api_version}: {listed[0][1]}"
    else:
        message += f"conflicts with {', '.join(holders)} using {api_version}:\n{text}"
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}" using {api_version}', "field": field}
        for manager, field in listed
    ]
    return ApiError(409, "Conflict", message, {"causes": causes})


# managedFields, in the form in which clients see them: {"f:spec": {"f:predictor": {...}}}


def _owners(entry: dict[str, Any] | None) -> dict[tuple[str, str], set[Path]]:
    managed = (entry or {}).get("metadata", {}).get("managedFields") or []
    return {(item["manager"], item["operation"]): _decode(item["fieldsV1"]) for item in managed}


def _with_owners(entry: dict[str, Any], owners: dict[tuple[str, str], set[Path]]) -> dict[str, Any]:
    entry["metadata"]["managedFields"] = [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": entry.get("apiVersion", "v1"),
            "time": timestamp(),
            "fieldsType": "FieldsV1",
            "fieldsV1": _encode(paths),
        }
        for (manager, operation), paths in owners.items()
        if paths
    ]
    return entry


def _encode(paths: set[Path]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for part in path:
            node = node.setdefault(f"f:{part}", {})
    return tree


def _decode(tree: dict[str, Any], path: Path = ()) -> set[Path]:
    if not tree:
        return {path}
    return set().union(*(_decode(node, (*path, key[2:])) for key, node in tree.items()))


def _set(entry: dict[str, Any], path: Path, value: Any) -> None:
    for part in path[:-1]:
        if not isinstance(entry.get(part), dict):
            entry[part] = {}
        entry = entry[part]
    if value == {} and isinstance(entry.get(path[-1]), dict):
        return
    entry[path[-1]] = copied(value)


def _remove(entry: dict[str, Any], path: Path) -> None:
    """Remove a field, and the objects above it that this leaves empty."""
    holder = entry
    for part in path[:-1]:
        if not isinstance(holder.get(part), dict):
            return
        holder = holder[part]
    holder.pop(path[-1], None)
    if not holder and len(path) > 1:
        _remove(entry, path[:-1])
