"""What real servers answered, a folder for each system and version: the doubles are held to it.

``calls.json`` is what ``tests/capture.py`` wrote: each answer with the name of what it is an answer to. Before it is
kept, names, ids and addresses are replaced and lists are cut; ``tests/capturing/replacing.py`` is the rule.
A registry does not tell its version: its folder has the date of the source that it was built from.
``described.json``, beside the versions, holds answers that nobody has recorded yet, as the documentation or the source
of the system describes them. What a version has recorded counts for more. ``runtime.yaml`` is the ServingRuntime that a
KServe was recorded with. ``documents.json`` is what TrainJobs of Kubeflow Trainer, and their pods, said of themselves
from stage to stage, without what nobody reads.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).parent


def versions(system: str) -> list[str]:
    """Return the versions of a system that were recorded."""
    return sorted(file.parent.name for file in (_HERE / system).glob("*/calls.json"))


def captured(system: str, version: str) -> dict[str, dict[str, Any]]:
    """Return what a version was asked for -> the call, with ``request``, ``status`` and ``answer``."""
    return _calls(_HERE / system / version / "calls.json")


def runtime(version: str) -> dict[str, Any]:
    """Return the ServingRuntime that the services of a KServe were made with when it was recorded."""
    manifest: dict[str, Any] = yaml.safe_load((_HERE / "kserve" / version / "runtime.yaml").read_text(encoding="utf-8"))
    return manifest


def described(system: str) -> dict[str, dict[str, Any]]:
    """Return the same of what is only described; ``source`` says where."""
    return _calls(_HERE / system / "described.json")


def captured_run(version: str, what: str) -> dict[str, Any]:
    """Return the document of a run as a Kubeflow Pipelines server told it."""
    document: dict[str, Any] = captured("kubeflow_pipelines", version)[what]["answer"]
    return document


@cache
def trainings(version: str) -> dict[str, list[dict[str, Any]]]:
    """Return case -> its stages (``stage``, ``trainjob``, ``jobset``, ``pods``), of a version of Trainer."""
    file = _HERE / "trainer" / version / "documents.json"
    return {each["case"]: each["stages"] for each in json.loads(file.read_text(encoding="utf-8"))}


@cache
def _calls(file: Path) -> dict[str, dict[str, Any]]:
    return {call["what"]: call for call in json.loads(file.read_text(encoding="utf-8"))}
