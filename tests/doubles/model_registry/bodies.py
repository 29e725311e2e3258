"""Bodies: strictly decoded, every field and every property."""

from __future__ import annotations

import json
from typing import Any

from tests.doubles.model_registry.errors import ApiError
from tests.doubles.model_registry.kinds import ARTIFACT, Kind

_VALUES = {
    "MetadataStringValue": ("string_value", str),
    "MetadataIntValue": ("int_value", str),
    "MetadataDoubleValue": ("double_value", (int, float)),
    "MetadataBoolValue": ("bool_value", bool),
    "MetadataStructValue": ("struct_value", str),
}
_STATES = {"state": ("LIVE", "ARCHIVED"), "desiredState": ("DEPLOYED", "UNDEPLOYED")}
_ARTIFACT_STATES = ("UNKNOWN", "PENDING", "LIVE", "MARKED_FOR_DELETION", "DELETED", "ABANDONED", "REFERENCE")


def parse_body(body: bytes, kind: Kind, *, is_new: bool, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a body.

    :param more: fields that are allowed besides.
    :raises ApiError: for what is not allowed there, or missing.
    """
    schema = f"openapi.{kind.schema}{'Create' if is_new else 'Update'}"
    try:
        fields = json.loads(body or b"null")
    except ValueError as error:
        raise ApiError(400, f"invalid character in JSON: {error}", is_wrapped=False) from None
    if not isinstance(fields, dict):
        words = {list: "array", str: "string", int: "number", float: "number", bool: "bool"}.get(type(fields), "null")
        raise ApiError(400, f"json: cannot unmarshal {words} into Go value of type {schema}", is_wrapped=False)
    known = (*kind.changeable, *(("name", *kind.fixed) if is_new else ()), *more)
    for name in fields:
        if name not in known:
            raise ApiError(400, f'json: unknown field "{name}"', is_wrapped=False)
    for name in kind.required if is_new else ():
        if not fields.get(name) and name not in more:
            raise ApiError(422, f"required field '{name}' is zero value.")
    _check_states(fields, kind)
    _check_properties(fields.get("customProperties") or {})
    if "\0" in json.dumps(fields, ensure_ascii=False):
        raise ApiError(400, "invalid byte sequence: NUL")
    return fields


def _check_states(fields: dict[str, Any], kind: Kind) -> None:
    for name, states in _STATES.items():
        allowed = _ARTIFACT_STATES if kind is ARTIFACT else states
        if name in fields and fields[name] not in allowed:
            raise ApiError(400, f"invalid value '{fields[name]}' for {kind.schema}State", is_wrapped=False)


def _check_properties(properties: dict[str, Any]) -> None:
    for name, value in properties.items():
        if not isinstance(value, dict) or value.get("metadataType") not in _VALUES:
            raise ApiError(400, "metadataType not found", is_wrapped=False)
        field, types = _VALUES[value["metadataType"]]
        for key, entry in value.items():
            if key not in ("metadataType", field):
                raise ApiError(400, f'json: unknown field "{key}"', is_wrapped=False)
            if key == field and not isinstance(entry, types):
                raise ApiError(400, f"json: cannot unmarshal {name} into {field}", is_wrapped=False)
        if field == "int_value" and not -(2**31) <= int(value.get(field, "0")) < 2**31:
            raise ApiError(400, f"{name}: value out of range")
