"""Whether a manifest is something that Kubernetes, with KServe and Trainer in it, takes as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from kubernetes import client  # noqa: TID253

from tests.doubles.kubernetes.kserve.definitions import definitions, prune
from tests.doubles.kubernetes.resources import BUILT_IN
from tests.doubles.trainer.definitions import definitions as definitions_of_trainer

#: The versions whose definitions are looked at; they differ in nothing that the manifests use.
KSERVE, TRAINER = "0.20.0", "2.3.0"


@cache
def _custom() -> dict[tuple[str, str], dict[str, Any]]:
    """Return API version and kind -> the definition of a kind that KServe or Trainer brings."""
    found = {}
    for definition in [*definitions(KSERVE), *definitions_of_trainer(TRAINER)]:
        spec = definition["spec"]
        found[f"{spec['group']}/{spec['versions'][0]['name']}", spec["names"]["kind"]] = spec
    return found


@cache
def names_of_kinds() -> frozenset[str]:
    """Return every name that kubectl takes for a kind of objects."""
    names = {name for kind in BUILT_IN for name in (kind.plural, kind.kind.lower(), *kind.short_names)}
    for spec in _custom().values():
        names |= {spec["names"]["plural"], spec["names"]["singular"], *spec["names"].get("shortNames", ())}
    return frozenset(names)


def manifest_problems(document: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a manifest: its kind, a field that nobody knows, a name or namespace that is missing."""
    version, kind = document.get("apiVersion", ""), document.get("kind", "")
    built_in = next((entry for entry in BUILT_IN if (entry.api_version, entry.kind) == (version, kind)), None)
    custom = _custom().get((version, kind))
    if built_in is None and custom is None:
        yield f"the cluster has no {version} {kind}"
        return
    is_namespaced = built_in.namespaced if built_in else custom is not None and custom["scope"] == "Namespaced"
    for field in ("name", "namespace") if is_namespaced else ("name",):
        if not document.get("metadata", {}).get(field):
            yield f"{kind}: metadata.{field} is missing"
    if custom:
        schema = custom["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        if prune(document.get("spec"), schema) != document.get("spec"):
            yield f"{kind}: spec has fields that {'Trainer' if 'trainer' in version else 'KServe'} does not know"
    elif built_in:
        yield from _unknown_fields(document, f"V1{kind}", kind)


def _unknown_fields(value: Any, type_name: str, where: str) -> Iterator[str]:
    """Yield the fields that the client's class of a type does not have, all the way down."""
    if found := re.fullmatch(r"(list|dict)\[(?:str, )?(.+)\]", type_name):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in inner:
            yield from _unknown_fields(item, found[2], f"{where}.{key}")
        return
    model = getattr(client, type_name, None)
    if model is None or not isinstance(value, dict):
        return
    types = {model.attribute_map[name]: of_type for name, of_type in model.openapi_types.items()}
    for field, item in value.items():
        if field not in types:
            yield f"{where} has no field {field}"
        else:
            yield from _unknown_fields(item, types[field], f"{where}.{field}")
