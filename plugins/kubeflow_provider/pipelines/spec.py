"""Parses a compiled pipeline (IR YAML) and checks a run's parameters against it, before anything is submitted."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.services import JsonValue

_LONGEST_VALUE_SHOWN = 60
#: Of the KFP SDK before version 2: its parameters have a `type` where Kubeflow reads `parameterType`.
_OLD_SCHEMA = "2.0."
#: Kubeflow carries every number as a double: beyond this, whole numbers change on their way without a word.
_LARGEST_WHOLE_NUMBER = 2**53

# libyaml where PyYAML was built with it: a compiled pipeline carries its components' source and is long.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_pipeline_spec(content: str | bytes | Mapping[str, Any], *, source: str) -> PipelineSpec:
    """Return the compiled pipeline that some content is.

    :param content: YAML or JSON with one or two documents, as the KFP compiler writes it, or what that holds; also as
        Kubeflow's API shows it, with ``pipeline_spec`` and ``platform_spec``.
    :param source: where it comes from, for messages.
    :raises InvalidRequestError: when it cannot be read or is something else.
    """
    documents = [content] if isinstance(content, Mapping) else _documents(content, source)
    if len(documents) == 1 and isinstance(documents[0], Mapping) and "pipeline_spec" in documents[0]:
        documents = [documents[0]["pipeline_spec"], documents[0].get("platform_spec")]
    spec, platform = [*documents, None, None][:2]
    if not _is_pipeline(spec) or len(documents) > 2 or not isinstance(platform, Mapping | None):
        raise InvalidRequestError(
            f"{source} is not a compiled pipeline: `pipelineInfo.name`, `root` and `deploymentSpec` are "
            "expected, and at most a second document for the platform. Compile it with the KFP SDK, version 2."
        )
    if (schema := str(spec.get("schemaVersion", ""))).startswith(_OLD_SCHEMA):
        raise InvalidRequestError(
            f"{source} has schemaVersion {schema}, which names the types of parameters in a way that Kubeflow "
            "has given up. Compile it anew with the KFP SDK, version 2."
        )
    return PipelineSpec(document=spec, platform=platform or None, source=source)


def bind(pipeline: PipelineSpec, parameters: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Check a run's parameters against the pipeline and cast them to the types that it declares.

    Templates render to text, so text that spells a value of the declared type is cast. ``None`` stands for "not given",
    and so does what a template or a form makes of it: the text "None", and, where no text is asked for, an empty one.
    Tuples, numpy's scalars and what mapped tasks returned are taken as the lists and numbers that they are. Defaults
    are left to the pipeline.

    :raises InvalidRequestError: naming everything that is unknown, missing or of the wrong type, all at once.
    """
    declared = pipeline.parameters
    given = {
        name: plain for name, value in parameters.items() if not _is_absent(plain := _plain(value), declared.get(name))
    }
    problems = [
        f"{name}: unknown; known are {', '.join(sorted(declared)) or 'none'}" for name in given if name not in declared
    ]
    problems += [
        f"{name}: missing, and it has no default"
        for name, parameter in declared.items()
        if name not in given and not parameter.get("isOptional") and "defaultValue" not in parameter
    ]
    bound: dict[str, JsonValue] = {}
    for name in sorted(given.keys() & declared.keys()):
        kind = declared[name].get("parameterType", "")
        expected, cast = _TYPES.get(kind, (f"nothing: a caller cannot set the type {kind!r}", _refuse))
        try:
            bound[name] = cast(given[name])
        except (TypeError, ValueError, OverflowError):
            problems.append(f"{name}: expected {expected}, got {_shown(given[name])}")
            continue
        if (allowed := declared[name].get("literals")) and bound[name] not in allowed:
            problems.append(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {_shown(given[name])}")
    if problems:
        raise InvalidRequestError(
            f"Parameters do not fit pipeline {pipeline.source or pipeline.name}: {'; '.join(problems)}."
        )
    return bound


def _documents(content: str | bytes, source: str) -> list[Any]:
    try:
        found: Iterable[Any] = yaml.load_all(content, _Loader)
        return [document for document in found if document is not None]
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequestError(f"Pipeline {source} cannot be read as YAML: {error}") from error


def _is_pipeline(document: Any) -> bool:
    try:
        parts = (document["pipelineInfo"]["name"], document["root"], document["deploymentSpec"])
    except (TypeError, KeyError):
        return False
    return all(parts)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE_SHOWN else f"{text[:_LONGEST_VALUE_SHOWN]}... ({type(value).__name__})"


def _plain(value: Any) -> Any:
    """Return what Python's JSON knows: a list for any sequence, mapped tasks' outputs too, numbers for numpy's."""
    if isinstance(value, str | bytes | int | float | None):
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return _plain(value.tolist()) if hasattr(value, "dtype") and hasattr(value, "tolist") else value


def _is_absent(value: Any, parameter: Mapping[str, Any] | None) -> bool:
    # What is unknown is named, however empty it is.
    if isinstance(value, str) and parameter and value not in parameter.get("literals", ()):
        return value == "None" or (not value.strip() and parameter.get("parameterType") != "STRING")
    return value is None


def _refuse(value: Any) -> JsonValue:
    raise TypeError


def _text(value: Any) -> str:
    # A template of a DAG that renders native objects may give a whole number, and nothing is lost.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    return str(value)


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    if abs(number := int(value)) > _LARGEST_WHOLE_NUMBER:
        raise ValueError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    if not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise TypeError
    spelled = value.strip().lower()
    if spelled not in ("true", "false"):
        raise ValueError
    return spelled == "true"


def _json(kind: type) -> Callable[[Any], Any]:
    def cast(value: Any) -> Any:
        document = _read_document(value) if isinstance(value, str) else value
        if not isinstance(document, kind):
            raise TypeError
        _check_whole_numbers(document)
        return json.loads(json.dumps(document, allow_nan=False))

    return cast


def _read_document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        # A template writes a list or an object as Python does.
        try:
            return _plain(ast.literal_eval(text))
        except SyntaxError as error:
            raise ValueError from error


def _check_whole_numbers(document: Any) -> None:
    if isinstance(document, int) and abs(document) > _LARGEST_WHOLE_NUMBER:
        raise ValueError
    if isinstance(document, list | dict):
        for item in document.values() if isinstance(document, dict) else document:
            _check_whole_numbers(item)


_WITHIN = "whole numbers in it up to 2^53 (give longer ids as text)"

#: Declared type -> how to say it to people, and how to cast to it.
_TYPES: dict[str, tuple[str, Callable[[Any], JsonValue]]] = {
    "STRING": ("text", _text),
    "NUMBER_INTEGER": ("a whole number up to 2^53", _whole_number),
    "NUMBER_DOUBLE": ("a number", _number),
    "BOOLEAN": ("true or false", _truth),
    "LIST": (f"a JSON list, {_WITHIN}", _json(list)),
    "STRUCT": (f"a JSON object, {_WITHIN}", _json(dict)),
}
