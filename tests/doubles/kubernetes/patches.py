"""The three patch formats that change an object without regard to who set what. (For apply: ``managed_fields``.)"""

from __future__ import annotations

from typing import Any

from tests.doubles.kubernetes.errors import ApiError, bad_request
from tests.doubles.kubernetes.objects import copied

#: Lists of the built-in kinds that a strategic merge patch merges, and the key that tells their items apart.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "secrets": "name",
    "conditions": "type",
    "ownerReferences": "uid",
}


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects are merged, everything else (lists too) is replaced."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_merge_patch(target: Any, patch: Any) -> Any:
    """Like a merge patch, but lists of named things are merged item by item."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, list) and key in MERGE_KEYS:
            result[key] = _merge_items(result.get(key) or [], value, MERGE_KEYS[key])
        elif not key.startswith("$"):
            result[key] = strategic_merge_patch(result.get(key), value)
    return result


def _merge_items(present: list[Any], patch: list[Any], key: str) -> list[Any]:
    merged = {item[key]: item for item in present}
    for item in patch:
        if item.get("$patch") == "delete":
            merged.pop(item[key], None)
        else:
            merged[item[key]] = strategic_merge_patch(merged.get(item[key]), item)
    return list(merged.values())


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902: add, remove, replace and test.

    :raises ApiError: 422 when a path is not there or a test does not hold, as the real server answers.
    """
    if not isinstance(operations, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    result = copied(target)
    for operation in operations:
        path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        try:
            _operate(result, operation["op"], path, operation.get("value"))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            message = f"the server rejected our request due to an error in our request: {operation['path']}: {error}"
            raise ApiError(422, "Invalid", message) from None
    return result


def _operate(target: Any, name: str, path: list[str], value: Any) -> None:
    *parents, last = path
    for part in parents:
        target = target[int(part)] if isinstance(target, list) else target[part]
    key: Any = last
    if isinstance(target, list):
        key = len(target) if last == "-" else int(last)
    if name == "add" and isinstance(target, list):
        target.insert(key, value)
    elif name == "add":
        target[key] = value
    elif name == "remove":
        del target[key]
    elif name == "replace":
        if isinstance(target, dict) and key not in target:
            raise KeyError(key)
        target[key] = value
    elif name == "test":
        if target[key] != value:
            raise ValueError("testing value failed")
    else:
        raise ValueError(f"unexpected kind: {name}")
