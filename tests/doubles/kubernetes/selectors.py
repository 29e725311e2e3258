"""Label and field selectors, read as strictly as a real server reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.doubles.kubernetes.errors import bad_request
from tests.doubles.kubernetes.resources import EVENTS, PODS, Resource

Matches = Callable[[dict[str, Any]], bool]

_EVERY_KIND = ("metadata.name", "metadata.namespace")
_BY_KIND = {
    PODS.plural: ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"),
    EVENTS.plural: (
        *(f"involvedObject.{field}" for field in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")),
        *("reason", "type", "source", "reportingComponent"),
    ),
}
_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")
_SPLIT = re.compile(r",(?![^(]*\))")


def selector(resource: Resource, *, labels: str = "", fields: str = "") -> Matches:
    """Return what tells whether an object is asked for."""
    tests = [_label(term.strip()) for term in _SPLIT.split(labels) if term.strip()]
    tests += [_field(resource, term.strip()) for term in fields.split(",") if term.strip()]
    return lambda entry: all(test(entry) for test in tests)


def _label(term: str) -> Matches:
    def value(entry: dict[str, Any], key: str) -> str | None:
        return (entry["metadata"].get("labels") or {}).get(key.strip())

    if found := _SET.match(term):
        key, operator, listed = found.groups()
        allowed = {item.strip() for item in listed.split(",")}
        return lambda entry: (value(entry, key) in allowed) == (operator == "in")
    if "!=" in term:
        key, wanted = term.split("!=", 1)
        return lambda entry: value(entry, key) != wanted.strip()
    if "=" in term:
        key, wanted = re.split("==?", term, maxsplit=1)
        return lambda entry: value(entry, key) == wanted.strip()
    if term.startswith("!"):
        return lambda entry: value(entry, term[1:]) is None
    if " " in term:
        raise bad_request(f"unable to parse requirement: found '{term}', expected: in, notin, =, ==, !=, gt, lt")
    return lambda entry: value(entry, term) is not None


def _field(resource: Resource, term: str) -> Matches:
    negated = "!=" in term
    path, _, wanted = term.partition("!=" if negated else "=")
    path, wanted = path.strip(), wanted.lstrip("=").strip()
    known = _EVERY_KIND + (() if resource.custom else _BY_KIND.get(resource.plural, ()))
    if path not in known:
        raise bad_request(f"field label not supported: {path}")

    def matches(entry: dict[str, Any]) -> bool:
        found: Any = entry
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return (str(found or "") == wanted) != negated

    return matches
