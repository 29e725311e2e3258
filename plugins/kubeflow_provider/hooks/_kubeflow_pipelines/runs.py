"""Reads a run as the API shows it. Zero values are absent there, and a row stands for every node of the workflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.services import Run, RunStep
from kubeflow_provider.states import RunState

_LONGEST_NAME = 255
_SUFFIX = re.compile(r" \[[0-9a-f-]{36}\]$")

# Nodes that are no step of the pipeline: its root, the pods that resolve a step's inputs, the pod of a step (its task
# has a node of its own), each attempt of it, and the group of a loop's iterations.
_DRIVER = re.compile(r"-driver(\(\d+\))?$")
_TECHNICAL = re.compile(r"^(root|executor(\(\d+\))?|.*-iterations(\(.*\))?)$")
_NODE_ID = re.compile(r"^(?P<workflow>.+)-\d+$")


def name_with_id(display_name: str, run_id: str) -> str:
    """Return a name that holds the run's id, by which the run is found should the server not keep ids of clients."""
    suffix = f" [{run_id}]"
    return f"{display_name[: _LONGEST_NAME - len(suffix)]}{suffix}"


def has_id(document: Mapping[str, Any], run_id: str) -> bool:
    """Say whether this is the run of that id, by its id or by its name."""
    return document.get("run_id") == run_id or document.get("display_name", "").endswith(f" [{run_id}]")


def read_run(document: Mapping[str, Any], settings: PipelinesSettings, *, was_terminated: bool = False) -> Run:
    """Return the run, without the reason of a failure: the API knows none.

    :param was_terminated: whether this process has terminated it.
    """
    run_id = document["run_id"]
    return Run(
        run_id=run_id,
        state=_state(document, was_terminated),
        display_name=_SUFFIX.sub("", document.get("display_name", "")),
        steps=_steps(document),
        url=settings.run_url(run_id),
        experiment_url=settings.experiment_url(document.get("experiment_id", "")),
        description=document.get("description", ""),
        created_at=created_at(document),
    )


def created_at(document: Mapping[str, Any]) -> datetime | None:
    """Return when the run was made."""
    text = document.get("created_at")
    return datetime.fromisoformat(text) if text else None


def failed_driver(document: Mapping[str, Any]) -> str | None:
    """Return the step whose driver failed while no step itself did, ``None`` when there is none."""
    failed = [row for row in _rows(document) if row.get("state") == RunState.FAILED]
    if any(_is_step(row, document) for row in failed):
        return None
    names = [row["display_name"] for row in failed if _DRIVER.search(row["display_name"])]
    return _DRIVER.sub("", names[-1]) if names else None


def step_nodes(document: Mapping[str, Any]) -> list[str]:
    """Return ids of the nodes that hold the failed step's pods, or the newest step's where none failed; newest first.

    A step's row names its executor; where the executor is tried again, its own row names the attempts.
    """
    rows = [row for row in _rows(document) if _is_step(row, document)]
    failed = [row for row in rows if row.get("state") == RunState.FAILED]
    if failed:
        attempts = [row for row in _rows(document) if row["display_name"] == "executor"]
        attempts = [row for row in attempts if row.get("state") == RunState.FAILED]
        # An executor that is tried once has the next step's driver for a child, and after a failure there is none.
        return [*_children(attempts[-1:]), *_children(failed[-1:])]
    # The group that holds a step has started before it, so what has started last is the step itself.
    return _children(rows[-1:])


def _state(document: Mapping[str, Any], was_terminated: bool) -> RunState:
    state = _known(document.get("state"))
    if state is RunState.UNKNOWN and not document.get("state") and not _rows(document):
        return RunState.PENDING  # Argo has not looked at the workflow yet
    if state is RunState.FAILED:
        # The server never writes CANCELED: a terminated run ends as FAILED.
        history = [entry.get("state") for entry in document.get("state_history", [])]
        last_start = max((position for position, state in enumerate(history) if state == RunState.PENDING), default=0)
        if was_terminated or RunState.CANCELING in history[last_start:]:
            return RunState.CANCELED
    return state


def _known(state: str | None) -> RunState:
    return RunState.__members__.get(state or "", RunState.UNKNOWN)


def _rows(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows in the order in which they started; times are whole seconds."""
    rows = document.get("run_details", {}).get("task_details", [])
    named = [row for row in rows if row.get("display_name")]
    return sorted(named, key=lambda row: (row.get("start_time", ""), row.get("end_time", "")))


def _is_step(row: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    name = row["display_name"]
    # The workflow's own node bears the workflow's name, with which the ids of its children begin.
    is_workflow = any(
        match["workflow"] == name for child in _children([row]) if (match := _NODE_ID.match(child)) is not None
    )
    return not (is_workflow or _DRIVER.search(name) or _TECHNICAL.match(name))


def _children(rows: list[Mapping[str, Any]]) -> list[str]:
    return [child["pod_name"] for row in rows for child in row.get("child_tasks", []) if child.get("pod_name")]


def _steps(document: Mapping[str, Any]) -> tuple[RunStep, ...]:
    rows = _rows(document)
    # The server does not tell which executor belongs to which step. One that was skipped because an earlier result
    # was used takes no time, and its step begins and ends with it.
    cached = {_span(row) for row in rows if row["display_name"] == "executor" and row.get("state") == RunState.SKIPPED}
    steps = []
    for row in rows:
        if not _is_step(row, document) or not row.get("state"):
            continue
        state = _known(row["state"])
        if state is RunState.SUCCEEDED and _span(row) in cached:
            steps.append(RunStep(name=row["display_name"], state=RunState.SKIPPED, progress="cached"))
        else:
            steps.append(RunStep(name=row["display_name"], state=state))
    if (driver := failed_driver(document)) is not None:
        steps.append(RunStep(name=f"{driver}-driver", state=RunState.FAILED))
    return tuple(steps)


def _span(row: Mapping[str, Any]) -> tuple[str, str]:
    return row.get("start_time", ""), row.get("end_time", "")
