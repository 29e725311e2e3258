"""Finds and changes what the registry keeps, past its oddities.

A look-up by name is a LIKE, in some databases without regard to case, so every name that comes back is compared. A
PATCH replaces all custom properties and makes what was archived LIVE unless it is told otherwise, so what was read goes
back with it. There is no compare-and-set: whoever wrote reads back, writes again what has been lost, and looks once
more a while later (:mod:`include.contracts.model_registry.settling`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from include.contracts.model_registry.calls import (
    CONFLICT,
    NOT_FOUND,
    Call,
    Document,
    MarkLostError,
    Refused,
    RegistryRefusalError,
    Story,
    Written,
)

MODELS, VERSIONS = "/registered_models", "/model_versions"
#: How often a mark is written, all in all, before its loss is told.
TRIES = 3
PAGE_SIZE = 100
#: What can stand in a filter as it is; nobody agrees about quotes there.
_PLAIN = re.compile(r"[A-Za-z0-9._ -]+")
#: The server's word for more than one hit, which it answers with 404.
_SEVERAL = "multiple"


def text(value: str) -> dict[str, str]:
    """Return a custom property of text."""
    return {"metadataType": "MetadataStringValue", "string_value": value}


def marks_of(document: Document) -> dict[str, str]:
    """Return the custom properties that are texts, name -> text."""
    properties: Mapping[str, Any] = document.get("customProperties") or {}
    return {name: str(value["string_value"]) for name, value in properties.items() if "string_value" in value}


def properties_of(marks: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return marks as custom properties; the registry's page takes an empty text for a label, so it is left out."""
    return {name: text(value) for name, value in marks.items() if value}


def find_model(name: str) -> Story[Document | None]:
    """Return the registered model of exactly this name."""
    found = yield Call(method="GET", path="/registered_model", params={"name": name}, refusals=NOT_FOUND)
    if isinstance(found, Refused):
        if _SEVERAL not in found.message:
            return None
    elif found.get("name") == name:
        return dict(found)
    # Something like it was found, which does not say that it is not there itself.
    condition = f"name = '{name}'" if _PLAIN.fullmatch(name) else ""
    for_all = yield from listed(MODELS, condition)
    return next((model for model in for_all if model.get("name") == name), None)


def make_model(name: str) -> Story[Document]:
    """Return the registered model of this name, made where there is none.

    :raises RegistryRefusalError: when its name is taken by one that is written otherwise.
    """
    if (known := (yield from find_model(name))) is not None:
        return known
    made = yield Call(method="POST", path=MODELS, body={"name": name, "state": "LIVE"}, refusals=CONFLICT)
    if not isinstance(made, Refused):
        return dict(made)
    if (known := (yield from find_model(name))) is not None:  # somebody else was quicker
        return known
    raise RegistryRefusalError(
        f"The registry has no model {name!r} and makes none: {made.message} Its database takes another spelling for "
        "the same name, in capitals for example. Rename the model."
    )


def find_version(model_id: str, name: str) -> Story[Document | None]:
    """Return the version of a registered model of exactly this name.

    :raises RegistryRefusalError: for a name that is no release's.
    """
    if not (name.isalnum() and name.isascii()):
        raise RegistryRefusalError(f"{name!r} is no version of a release; it looks like 20261121030000.")
    query = {"name": name, "parentResourceId": model_id}
    found = yield Call(method="GET", path="/model_version", params=query, refusals=NOT_FOUND)
    if isinstance(found, Refused) or (found.get("name"), found.get("registeredModelId")) != (name, model_id):
        return None
    return dict(found)


def listed(
    path: str, condition: str = "", *, wanted: int | None = None, is_wanted: Any = None
) -> Story[list[Document]]:
    """Return what a list holds, newest first.

    :param condition: of the server's filter. Older servers know none: what counts is ``is_wanted``.
    :param wanted: no more than these; ``None`` for all.
    :param is_wanted: says of each whether it counts.
    """
    found: list[Document] = []
    size = PAGE_SIZE if wanted is None else max(1, min(PAGE_SIZE, wanted))
    token = ""
    while wanted is None or len(found) < wanted:
        query = {"pageSize": size, "orderBy": "ID", "sortOrder": "DESC"}
        query |= {name: value for name, value in (("filterQuery", condition), ("nextPageToken", token)) if value}
        page = yield Call(method="GET", path=path, params=query)
        found += [entry for entry in page.get("items") or [] if is_wanted is None or is_wanted(entry)]
        before, token = token, page.get("nextPageToken") or ""
        if not token or token == before:
            break
    return found[:wanted]


def mark(path: str, document: Document, marks: Mapping[str, str]) -> Story[Document]:
    """Set marks among the others of a thing, whose own stay, and return it as it is then. Safe to repeat.

    :param path: of its collection.
    :param document: the thing; it is read once more, for others may have written since.
    :param marks: name -> text; an empty one takes the mark away.
    :raises MarkLostError: when they are not there after all tries.
    """
    place = f"{path}/{document['id']}"
    document = dict((yield Call(method="GET", path=place)))
    there = marks_of(document)
    before = {name: there.get(name, "") for name in marks}
    for _ in range(TRIES):
        properties = dict(document.get("customProperties") or {})
        changed = {name: value for name, value in properties.items() if name not in marks} | properties_of(marks)
        if changed == properties:
            return document
        body = {"customProperties": changed, "state": document.get("state", "LIVE")}
        yield Call(method="PATCH", path=place, body=body)
        document = dict((yield Call(method="GET", path=place)))
        if not _missing(document, marks):
            yield Written(path=place, marks=marks, before=before, document=document)
            return document
    raise MarkLostError(
        f"{document.get('name')}: {', '.join(_missing(document, marks))} was written {TRIES} times and is not there: "
        "somebody else writes to it at the same time. Find out who (see its page in the registry), and repeat the step."
    )


def _missing(document: Document, marks: Mapping[str, str]) -> list[str]:
    there = marks_of(document)
    return [name for name, value in marks.items() if there.get(name, "") != value]
