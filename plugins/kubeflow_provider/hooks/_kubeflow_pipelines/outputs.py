"""Reads what the steps of a run have made, as Kubeflow Pipelines tells it from 3.0 on; no server before does."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kubeflow_provider.run_outputs import LARGEST_BYTES, is_too_large

log = logging.getLogger(__name__)

#: The launcher's own artifact in every step: the log.
_LOGS = "executor-logs"
#: Each of a loop's iterations has given one of them.
_OF_LOOPS = "ITERATOR_OUTPUT"


def read_outputs(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the outputs of a run, see :mod:`kubeflow_provider.run_outputs`.

    :param document: the run as the API shows it with ``view=FULL``.
    :return: ``None`` where the server tells nothing of outputs, or more of them than there is room for.
    """
    tasks = document.get("tasks")
    if not tasks:
        return None
    outputs: dict[str, Any] = {}
    steps: list[tuple[str, dict[str, Any]]] = []
    for task in sorted(tasks, key=lambda task: task.get("create_time", "")):
        own = _of_task(task)
        if task.get("type") == "ROOT":
            outputs = own
        elif own:
            steps.append((_name(task), own))
    if steps:
        outputs["steps"] = _by_name(steps)
    if is_too_large(outputs):
        log.warning(
            "The outputs of pipeline run %s are left where they are: they take more than %s KiB.",
            document.get("run_id"),
            LARGEST_BYTES // 1024,
        )
        return None
    return outputs


def _name(task: Mapping[str, Any]) -> str:
    return str(task.get("scope_path") or task.get("name", "")).removeprefix("root.")


def _by_name(steps: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    steps = list(steps)
    times, seen = Counter(name for name, _ in steps), Counter[str]()
    named = {}
    for name, own in steps:
        named[name if times[name] == 1 else f"{name}[{seen[name]}]"] = own
        seen[name] += 1
    return named


def _of_task(task: Mapping[str, Any]) -> dict[str, Any]:
    told = task.get("outputs", {})
    parameters: dict[str, Any] = {}
    for parameter in told.get("parameters", []):
        key, value = parameter.get("parameter_key", ""), parameter.get("value")
        if parameter.get("type") == _OF_LOOPS:
            parameters.setdefault(key, []).append(value)
        else:
            parameters[key] = value
    artifacts: dict[str, list[dict[str, Any]]] = {}
    for entry in told.get("artifacts", []):
        if entry.get("artifact_key") != _LOGS:
            found = [_artifact(artifact, entry["artifact_key"], task) for artifact in entry.get("artifacts", [])]
            artifacts.setdefault(entry["artifact_key"], []).extend(found)
    sections = {
        "parameters": parameters,
        "artifacts": {key: found[0] if len(found) == 1 else found for key, found in artifacts.items() if found},
    }
    return {name: section for name, section in sections.items() if section}


def _artifact(artifact: Mapping[str, Any], key: str, task: Mapping[str, Any]) -> dict[str, Any]:
    entry = {
        "uri": artifact.get("uri", ""),
        "type": artifact.get("type"),
        "name": None if artifact.get("name") == key else artifact.get("name"),
        "metadata": artifact.get("metadata"),
        "value": artifact.get("number_value"),
        # It was there before the run: an importer has made it known.
        "imported": True if task.get("type") == "IMPORTER" else None,
    }
    return {name: value for name, value in entry.items() if value is not None}
