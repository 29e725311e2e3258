"""The shape of a JSON document: its keys, the kinds of its rows and values, and the words that decide something."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

#: Lists whose rows have a name that counts, and the field that it stands in. The rows of other lists are all of a kind.
_ROW_NAMES = {
    "task_details": "display_name",
    "tasks": "name",
    "pods": "type",
    "state_history": "state",
    "conditions": "type",
    "containers": "name",
    "containerStatuses": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "name",
    "ports": "protocol",
    "ownerReferences": "kind",
    "tolerations": "key",
}

#: Fields whose value is part of the shape: code decides by it.
_WORDS = frozenset(
    {
        *("state", "type", "code", "status", "reason", "storage_state", "@type", "multi_user", "pipeline_store"),
        *("kind", "apiVersion", "deploymentMode", "transitionStatus", "activeModelState", "targetModelState"),
        *("severity", "phase", "qosClass", "exitCode", "failedCopies", "restartPolicy"),
    }
)

#: What Argo appends to the name of a workflow, whose own rows have it in their names.
_TAIL = re.compile(r"-[a-z0-9]{5}(?=$|\()")

_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$")


def shape(document: Any, path: str = "") -> set[str]:
    """Return a line for every place of a document: where it is, and what stands there."""
    if isinstance(document, dict) and document:
        return {line for key, value in document.items() for line in _entry(key, value, f"{path}.{key}")}
    if isinstance(document, list) and document:
        name = _ROW_NAMES.get(path.rpartition(".")[2], "")
        return {line for row in document for line in shape(row, f"{path}[{_row_name(row, name)}]")}
    return {f"{path}: {_kind(document)}"}


def differences(captured: Any, answered: Any, path: str = "") -> list[str]:
    """Compare the shapes of two documents.

    :param path: goes before the lines of both.
    :return: ``missing: <line>`` for what only the first one has, ``new: <line>`` for what only the second one has.
    """
    wanted, found = shape(captured, path), shape(answered, path)
    return sorted([f"missing: {line}" for line in wanted - found] + [f"new: {line}" for line in found - wanted])


def is_excused(line: str, patterns: Iterable[str]) -> bool:
    """Say whether a difference is one that may be; ``*`` in a pattern stands for anything."""
    return any(_fits(line, pattern) for pattern in patterns)


def _row_name(row: Any, field: str) -> str:
    name = str(row.get(field, "")) if field and isinstance(row, dict) else ""
    return _TAIL.sub("-?????", name) if field == "display_name" else name


def _entry(key: str, value: Any, path: str) -> set[str]:
    if key in _WORDS and isinstance(value, str | int):
        return {f"{path} = {value}"}
    return shape(value, path)


def _fits(line: str, pattern: str) -> bool:
    text = line.partition(": ")[2]
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "time" if _TIME.match(value) else "text"
    if isinstance(value, bool):
        return "yes or no"
    if isinstance(value, int | float):
        return "number"
    return {dict: "empty object", list: "empty list"}.get(type(value), "null")
