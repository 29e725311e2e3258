"""Reads a run as the API shows it. Zero values are absent there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kubeflow_provider.hooks._kubeflow_pipelines.outputs import read_outputs
from kubeflow_provider.hooks._kubeflow_pipelines.settings import PipelinesSettings
from kubeflow_provider.hooks._kubeflow_pipelines.steps import known_state, read_steps
from kubeflow_provider.services import Run
from kubeflow_provider.states import RunState

_LONGEST_NAME = 255
_SUFFIX = re.compile(r" \[[0-9a-f-]{36}\]$")


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
    state = _state(document, was_terminated)
    return Run(
        run_id=run_id,
        state=state,
        display_name=_SUFFIX.sub("", document.get("display_name", "")),
        steps=read_steps(document).steps,
        url=settings.run_url(run_id),
        experiment_url=settings.experiment_url(document.get("experiment_id", "")),
        description=document.get("description", ""),
        created_at=created_at(document),
        outputs=read_outputs(document) if state.is_terminal else None,
    )


def created_at(document: Mapping[str, Any]) -> datetime | None:
    """Return when the run was made."""
    text = document.get("created_at")
    return datetime.fromisoformat(text) if text else None


def _state(document: Mapping[str, Any], was_terminated: bool) -> RunState:
    if not document.get("state"):
        return RunState.PENDING  # Argo has not looked at the workflow yet
    state = known_state(document["state"])
    if state is RunState.FAILED:
        # The server never writes CANCELED: a terminated run ends as FAILED.
        history = [entry.get("state") for entry in document.get("state_history", [])]
        last_start = max((position for position, state in enumerate(history) if state == RunState.PENDING), default=0)
        if was_terminated or RunState.CANCELING in history[last_start:]:
            return RunState.CANCELED
    return state
