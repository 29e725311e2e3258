"""Reads the document in which a pipeline has written its outputs, for services that tell none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, Any, cast

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.reading import is_local, shown
from kubeflow_provider.run_outputs import LARGEST_BYTES

#: Parameter in which a pipeline is told where it is to write its outputs.
PARAMETER = "outputs_uri"
#: Stands for the run's id in an address.
_RUN_ID = "{run_id}"

_WHAT_IT_HOLDS = "a JSON object with `parameters` (name: value) and `artifacts` (name: URI, or an object with `uri`)"


def place_of(uri: str, run_id: str) -> str:
    """Return where one run writes its outputs.

    :param uri: as the task has it; ``{run_id}`` in it stands for the run.
    """
    return uri.replace(_RUN_ID, run_id)


def with_place(pipeline: PipelineSpec, parameters: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return a run's parameters with the one that says where outputs go, where the pipeline asks and nobody told it."""
    asks = PARAMETER in pipeline.parameters and parameters.get(PARAMETER) in (None, "")
    return {**parameters, **({PARAMETER: place} if asks else {})}


def read_written(place: str, *, conn_id: str | None = None) -> dict[str, Any] | None:
    """Read what a run has written.

    :param place: path or URI of a kind that Airflow's object storage reads, ``s3://conn_id@bucket/key`` for example.
    :param conn_id: Airflow connection of its keeper; ``None``: the one in the URI, else none.
    :return: ``parameters`` and ``artifacts``, those that are there; ``None`` when there is no document.
    :raises InvalidRequestError: when the document is none, is too large, or at a place that is not read.
    :raises PermissionDeniedError: when its keeper does not let us read it.
    :raises ServiceUnavailableError: when its keeper does not answer; worth another try.
    """
    content = _read(place, conn_id)
    if content is None:
        return None
    name = shown(place)
    if len(content) > LARGEST_BYTES:
        raise InvalidRequestError(
            f"Outputs {name} have more than {LARGEST_BYTES // 1024} KiB; let the pipeline write the addresses of "
            "what is large."
        )
    try:
        # What is no number has no place in Airflow's database but as text.
        document = json.loads(content, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"Outputs {name} are no JSON: {error}") from error
    return _checked(document, name)


def _checked(document: Any, name: str) -> dict[str, Any]:
    sections = ("parameters", "artifacts")
    if (
        not isinstance(document, dict)
        or document.keys() - set(sections)
        or not all(isinstance(section, dict) for section in document.values())
    ):
        raise InvalidRequestError(f"Outputs {name} are not as expected: {_WHAT_IT_HOLDS}.")
    artifacts = {key: {"uri": value} if isinstance(value, str) else value for key, value in _items(document)}
    if wrong := sorted(key for key, value in artifacts.items() if not _is_artifact(value)):
        raise InvalidRequestError(
            f"Outputs {name}: artifacts {', '.join(wrong)} have no address. Expected is {_WHAT_IT_HOLDS}."
        )
    outputs = {"parameters": document.get("parameters"), "artifacts": artifacts}
    return {section: entries for section, entries in outputs.items() if entries}


def _items(document: Mapping[str, Any]) -> Any:
    return document.get("artifacts", {}).items()


def _is_artifact(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("uri"), str) and bool(value["uri"])


def _read(place: str, conn_id: str | None) -> bytes | None:
    from airflow.sdk import ObjectStoragePath

    name = shown(place)
    # fsspec takes `a::b` for one inside the other, and http for an address inside of the cluster as well.
    if "::" in place or re.match(r"https?:", place, re.IGNORECASE):
        raise InvalidRequestError(
            f"Outputs {name} are at a place that is not read: give an absolute path, or the URI of an object store."
        )
    try:
        path = ObjectStoragePath(f"file://{place}" if place.startswith("/") else place, conn_id=conn_id or None)
        with path.open("rb") as file:
            return cast("IO[bytes]", file).read(LARGEST_BYTES + 1)
    except (ImportError, ValueError) as error:
        how = "" if is_local(place) else " Airflow reads it with the provider of its object store."
        raise InvalidRequestError(f"Outputs {name} cannot be read: {error}.{how}") from error
    except PermissionError as error:
        raise PermissionDeniedError(f"Outputs {name} cannot be read: {error}") from error
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise ServiceUnavailableError(f"Outputs {name} cannot be read now: {error}") from error
