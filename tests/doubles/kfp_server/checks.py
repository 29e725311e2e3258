"""What the API server checks in a request: its fields, its filter, its page, and a run's parameters."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

import kfp_server_api

from tests.doubles.kfp_server.errors import INVALID_ARGUMENT, ApiError, GatewayError

_GENERIC = re.compile(r"(list|dict)(?:\[|\(str, )(.+)[\])]$")
_ENUM = re.compile(r"(State|Operation|Mode)$")

#: Fields that came with later versions than 2.13.
_FIELDS_SINCE_2_14 = {"V2beta1Pipeline": {"name", "tags"}, "V2beta1PipelineVersion": {"name", "tags"}}

#: Fields of answers that the published client, which is of 2.17, does not know.
_FIELDS_SINCE_3_0 = {"V2beta1Run": {"tasks", "task_count"}}


def unknown_in_answer(document: Any, kind: str, *, version: tuple[int, int]) -> list[str]:
    """Compare an answer of a server of this version with a model of the published API client."""
    return unknown_fields(document, kind, besides=_FIELDS_SINCE_3_0 if version >= (3, 0) else {})


def unknown_fields(
    document: Any,
    kind: str,
    *,
    path: str = "",
    without: Mapping[str, set[str]] = {},
    besides: Mapping[str, set[str]] = {},
) -> list[str]:
    """Compare a JSON document with a model of the published API client.

    :param kind: the model's name, for example ``V2beta1Run``, or a type as the client writes it.
    :param without: model -> fields that the server is too old to know.
    :param besides: model -> fields that are too new for the client.
    :return: what does not fit: field with its path, and why.
    """
    if match := _GENERIC.match(kind):
        container, inner = match.groups()
        if not isinstance(document, list if container == "list" else dict):
            return [f"{path}: a {container} is expected"]
        pairs = enumerate(document) if isinstance(document, list) else document.items()
        return [
            problem
            for key, value in pairs
            for problem in unknown_fields(value, inner, path=f"{path}[{key}]", without=without, besides=besides)
        ]
    model = getattr(kfp_server_api, kind, None)
    if model is None or not model.openapi_types:
        return _wrong_scalar(document, kind, path)
    if not isinstance(document, dict):
        return [f"{path}: an object is expected"]
    fields = {
        wire: model.openapi_types[name]
        for name, wire in model.attribute_map.items()
        if wire not in without.get(kind, set())
    }
    known = fields.keys() | besides.get(kind, set())
    problems = [f'{path}: unknown field "{name}"' for name in document.keys() - known]
    for name in document.keys() & fields.keys():
        problems += unknown_fields(
            document[name], fields[name], path=f"{path}.{name}", without=without, besides=besides
        )
    return problems


def _wrong_scalar(value: Any, kind: str, path: str) -> list[str]:
    expected: dict[str, type | tuple[type, ...]] = {
        "str": str,
        "datetime": str,
        "int": int,
        "bool": bool,
        "float": (int, float),
    }
    if kind in expected and not isinstance(value, expected[kind]):
        return [f"{path}: {kind} is expected"]
    return []


def check_request(body: bytes, kind: str, *, version: tuple[int, int]) -> dict[str, Any]:
    """Parse a request body; the gateway refuses what the server does not know."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise GatewayError(INVALID_ARGUMENT, f"invalid JSON: {error}") from error
    problems = unknown_fields(document, kind, without=_FIELDS_SINCE_2_14 if version < (2, 14) else {})
    if problems:
        raise GatewayError(INVALID_ARGUMENT, f"proto: (line 1:2): {problems[0]}")
    return dict(document)


# Listing


def select(rows: Sequence[dict[str, Any]], query: Mapping[str, str], keys: set[str]) -> dict[str, Any]:
    """Return one page: ``rows``, ``total_size`` and ``next_page_token`` where there is more.

    :param query: the request's query, decoded once, as every server does.
    :param keys: what may be filtered by.
    """
    token = query.get("page_token", "")
    asked = {name: query[name] for name in ("filter", "sort_by") if query.get(name)}
    offset = 0
    if token:
        try:
            page = json.loads(base64.urlsafe_b64decode(token))
        except ValueError as error:
            raise ApiError(INVALID_ARGUMENT, "Invalid page token") from error
        if asked and asked != page["asked"]:
            raise ApiError(INVALID_ARGUMENT, "page token does not match the supplied sort by and/or filtering criteria")
        asked, offset = page["asked"], page["offset"]
    predicates = _predicates(asked.get("filter", ""), keys)
    found = [row for row in rows if all(_holds(row, predicate) for predicate in predicates)]
    key, _, direction = asked.get("sort_by", "").partition(" ")
    if key:
        if key not in keys:
            raise ApiError(INVALID_ARGUMENT, f"Invalid sorting field: {key!r}")
        found.sort(key=lambda row: str(row.get(key, "")), reverse=direction == "desc")
    size = min(int(query.get("page_size") or 20) or 20, 200)
    answer: dict[str, Any] = {"rows": found[offset : offset + size], "total_size": len(found)}
    if offset + size < len(found):
        page = json.dumps({"asked": asked, "offset": offset + size})
        answer["next_page_token"] = base64.urlsafe_b64encode(page.encode()).decode()
    return answer


def _predicates(text: str, keys: set[str]) -> list[dict[str, Any]]:
    """Parse a filter, and refuse what cannot be asked, whether or not there are rows."""
    if not text:
        return []
    # The query was decoded by HTTP; the server decodes the filter a second time.
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ApiError(INVALID_ARGUMENT, "failed to parse valid filter: invalid URL escape")
    try:
        predicates: list[dict[str, Any]] = json.loads(unquote_plus(text))["predicates"]
    except (ValueError, KeyError, TypeError) as error:
        raise ApiError(INVALID_ARGUMENT, f"failed to parse valid filter: {text}") from error
    for predicate in predicates:
        if (key := predicate.get("key")) not in keys:
            raise ApiError(INVALID_ARGUMENT, f"no support for filtering on unrecognized field {key!r}")
        if (operation := predicate.get("operation")) not in _OPERATIONS:
            raise ApiError(INVALID_ARGUMENT, f"invalid operation {operation!r}")
        if operation == "IN" and "string_values" not in predicate:
            raise ApiError(INVALID_ARGUMENT, "cannot use IN operator with scalar type string")
    return predicates


def _holds(row: Mapping[str, Any], predicate: Mapping[str, Any]) -> bool:
    # The database's collation does not tell upper case from lower case.
    value = str(row.get(predicate["key"], "")).lower()
    wanted = predicate["string_values"]["values"] if predicate["operation"] == "IN" else [predicate["string_value"]]
    return _OPERATIONS[predicate["operation"]](value, [text.lower() for text in wanted])


_OPERATIONS: dict[str, Callable[[str, list[str]], bool]] = {
    "EQUALS": lambda value, wanted: value in wanted,
    "IN": lambda value, wanted: value in wanted,
    "NOT_EQUALS": lambda value, wanted: value not in wanted,
    "IS_SUBSTRING": lambda value, wanted: wanted[0] in value,
}


def public(row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the server keeps for itself."""
    return {name: value for name, value in row.items() if not name.startswith("_")}


def page(
    name: str,
    rows: Sequence[dict[str, Any]],
    query: Mapping[str, str],
    keys: set[str],
    show: Callable[[Mapping[str, Any]], dict[str, Any]] = public,
) -> dict[str, Any]:
    """Return the answer of a list call; an empty list is absent, as every zero value is.

    :param show: makes what is shown of a row that was selected.
    """
    answer = select(rows, query, keys)
    shown = [show(row) for row in answer.pop("rows")]
    return ({name: shown} if shown else {}) | {key: value for key, value in answer.items() if value}


# A run's parameters

_TYPES: dict[str, Callable[[Any], bool]] = {
    "STRING": lambda value: isinstance(value, str),
    "BOOLEAN": lambda value: isinstance(value, bool),
    "NUMBER_DOUBLE": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "NUMBER_INTEGER": lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    ),
    "LIST": lambda value: isinstance(value, list),
    "STRUCT": lambda value: isinstance(value, dict),
}


def check_parameters(ir: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what the pipeline does not declare, what it declares otherwise, and what is missing."""
    declared = ir["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in given.items():
        if name not in declared:
            raise ApiError(INVALID_ARGUMENT, f"parameter {name} specified in the run request is not found in the spec")
        kind = declared[name]["parameterType"]
        if not _TYPES[kind](value):
            raise ApiError(INVALID_ARGUMENT, f"input parameter {name} requires type {kind}, but got {value!r}")
    for name, parameter in declared.items():
        if name not in given and not parameter.get("isOptional") and "defaultValue" not in parameter:
            raise ApiError(INVALID_ARGUMENT, f"parameter {name} is not optional, yet has neither default nor value")
