"""What a run has made, as JSON: how a service tells it, and how tasks find it in XCom.

``parameters`` (name -> value) and ``artifacts`` (name -> ``uri``, and where it is known ``type``, ``name``,
``metadata``, ``value``; a list of them where there are several) are the outputs of the pipeline itself. ``steps``
(name -> the same two) are those of its steps; one in a nested pipeline is called ``nested.step``, and one that ran
several times ``step[0]``, ``step[1]``, in the order of their start. What is empty is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

#: A trigger's event and an XCom hold no more: they are rows of Airflow's database.
LARGEST_BYTES = 256 * 1024


@runtime_checkable
class ArtifactService(Protocol):
    """What a pipeline service has besides where it keeps the artifacts of its runs itself."""

    def artifacts_uri(self, run_id: str) -> str:
        """Return the URI of the folder in which a run leaves its artifacts."""


def is_too_large(outputs: Mapping[str, Any]) -> bool:
    """Say whether outputs have no place in Airflow's database."""
    return len(json.dumps(outputs)) > LARGEST_BYTES


def merged(told: Mapping[str, Any] | None, written: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return all outputs of a run.

    :param told: by its service.
    :param written: by the run itself, which counts for more.
    """
    outputs = dict(told or {})
    for section, entries in (written or {}).items():
        outputs[section] = {**outputs.get(section, {}), **entries}
    return outputs


def names_of(outputs: Mapping[str, Any]) -> list[str]:
    """Return the names of all outputs: ``accuracy`` is the pipeline's, ``train.model`` is a step's."""
    own = [name for section in ("parameters", "artifacts") for name in outputs.get(section, {})]
    steps = outputs.get("steps", {}).items()
    return own + [f"{step}.{name}" for step, its in steps for name in names_of(its)]


def artifacts_of(outputs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every artifact of a run, those of the steps as well; some come twice."""
    for entry in outputs.get("artifacts", {}).values():
        yield from entry if isinstance(entry, list) else [entry]
    for step in outputs.get("steps", {}).values():
        yield from artifacts_of(step)
