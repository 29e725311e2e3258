"""Reads a compiled pipeline (IR YAML) and checks a run's parameters against it, before anything is submitted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.services import JsonValue

_LONGEST_VALUE_SHOWN = 60
#: Kubeflow carries every number as a double: beyond this, whole numbers change on their way without a word.
_LARGEST_WHOLE_NUMBER = 2**53

# libyaml where PyYAML was built with it: a compiled pipeline carries its components' source and is long.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """A compiled pipeline.

    :param document: the pipeline spec, the first document of the file.
    :param platform: the platform spec (Kubernetes settings), the second document where there is one.
    """

    document: Mapping[str, Any]
    platform: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """Name given to the pipeline in its source."""
        return str(self.document["pipelineInfo"]["name"])

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """Parameter name -> ``parameterType``, and where given ``isOptional``, ``defaultValue``, ``literals`` (the
        values that are allowed) and ``description``."""
        return self.document["root"].get("inputDefinitions", {}).get("parameters", {})


def read_pipeline_spec(pipeline_file: str | Path) -> PipelineSpec:
    """Read a compiled pipeline.

    :param pipeline_file: YAML with one or two documents, as the KFP compiler writes it.
    :raises InvalidRequestError: when it cannot be read or is something else.
    """
    try:
        with Path(pipeline_file).open(encoding="utf-8") as stream:
            documents = [document for document in yaml.load_all(stream, _Loader) if document is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequestError(f"Pipeline {pipeline_file} cannot be read as YAML: {error}") from error
    spec, platform = [*documents, None, None][:2]
    if not _is_pipeline(spec) or len(documents) > 2 or not isinstance(platform, dict | None):
        raise InvalidRequestError(
            f"{pipeline_file} is not a compiled pipeline: `pipelineInfo.name`, `root` and `deploymentSpec` are "
            "expected, and at most a second document for the platform. Compile it with the KFP SDK, version 2."
        )
    return PipelineSpec(document=spec, platform=platform)


def bind(pipeline_file: str | Path, parameters: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Check a run's parameters against the pipeline and cast them to the types that it declares.

    Templates render to text, so text that spells a value of the declared type is cast; ``None`` stands for "not
    given". Defaults are left to the pipeline.

    :raises InvalidRequestError: naming everything that is unknown, missing or of the wrong type, all at once.
    """
    declared = read_pipeline_spec(pipeline_file).parameters
    given = {name: value for name, value in parameters.items() if value is not None}
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
        raise InvalidRequestError(f"Parameters do not fit pipeline {pipeline_file}: {'; '.join(problems)}.")
    return bound


def _is_pipeline(document: Any) -> bool:
    try:
        parts = (document["pipelineInfo"]["name"], document["root"], document["deploymentSpec"])
    except (TypeError, KeyError):
        return False
    return all(parts)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE_SHOWN else f"{text[:_LONGEST_VALUE_SHOWN]}... ({type(value).__name__})"


def _refuse(value: Any) -> JsonValue:
    raise TypeError


def _text(value: Any) -> str:
    # A whole number is let through because native rendering makes one of "20261121030000", and nothing is lost.
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
        document = json.loads(value) if isinstance(value, str) else value
        if not isinstance(document, kind):
            raise TypeError
        return json.loads(json.dumps(document, allow_nan=False))

    return cast


#: Declared type -> how to say it to people, and how to cast to it.
_TYPES: dict[str, tuple[str, Callable[[Any], JsonValue]]] = {
    "STRING": ("text", _text),
    "NUMBER_INTEGER": ("a whole number up to 2^53", _whole_number),
    "NUMBER_DOUBLE": ("a number", _number),
    "BOOLEAN": ("true or false", _truth),
    "LIST": ("a JSON list", _json(list)),
    "STRUCT": ("a JSON object", _json(dict)),
}
