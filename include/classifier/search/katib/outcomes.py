"""What Katib says of an Experiment and its Trials, in our words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from include.classifier.cluster.api import conditions, in_words
from include.classifier.search.katib.experiment import settings_of
from include.classifier.search.trials import EndedTrial, State
from include.contracts.search.settings import Space

#: Folder in that of the search; a file for each trial, which the trial writes.
FOLDER = "katib"

#: Key of :attr:`EndedTrial.memory`: the name of the Trial.
TRIAL = "katib_trial"

_LONGEST_REASON = 500

#: Condition of a Trial, the first that is true -> what became of it. All others: it is under way, or waits.
_STATES: dict[str, State] = {
    "Killed": "failed",
    "Failed": "failed",
    "MetricsUnavailable": "failed",
    "EarlyStopped": "pruned",
    "Succeeded": "finished",
}
_NO_METRICS = (
    "Katib collected no metric. Does the namespace have the label katib.kubeflow.org/metrics-collector-injection: "
    "enabled?"
)


def ended_experiment(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return what ended an Experiment.

    :return: ``trials``, ``space`` or ``failed``, empty while it goes on; and Katib's words.
    """
    true = conditions(document)
    if "Failed" in true:
        return "failed", in_words(true["Failed"])
    if "Succeeded" in true:
        is_space = "SuggestionEndReached" in str(true["Succeeded"].get("reason"))
        return "space" if is_space else "trials", in_words(true["Succeeded"])
    return "", in_words(true["Running"]) if "Running" in true else ""


def state_of(trial: Mapping[str, Any]) -> tuple[State | None, str]:
    """Return what became of a Trial, and why; ``None`` while it is under way."""
    true = conditions(trial)
    for condition, state in _STATES.items():
        if condition in true:
            said = in_words(true[condition])
            if condition == "MetricsUnavailable":
                return state, f"{_NO_METRICS} ({said})"
            if condition == "EarlyStopped":
                return state, f"worse than others, says Katib ({said})"
            return state, "" if state == "finished" else said
    # Katib before 0.13 said so in a condition that is not true.
    for each in (trial.get("status") or {}).get("conditions") or []:
        if each.get("type") == "Succeeded" and each.get("status") == "False" and "Metrics" in str(each.get("reason")):
            return "failed", f"{_NO_METRICS} ({in_words(each)})"
    return None, ""


def value_of(trial: Mapping[str, Any], metric: str) -> float | None:
    """Return the latest value of a metric that Katib has collected; ``None`` where it has none."""
    observation = (trial.get("status") or {}).get("observation") or {}
    for each in observation.get("metrics") or []:
        if each.get("name") == metric:
            try:
                return float(each.get("latest"))
            except (TypeError, ValueError):  # "unavailable"
                return None
    return None


def ended_trial(
    trial: Mapping[str, Any], number: int, *, metric: str, space: Space, told: EndedTrial | None, is_late: bool = False
) -> EndedTrial | None:
    """Return a Trial as one of the search's; ``None`` while it is under way.

    Value and state are Katib's. Answers to the held-out rows, curve and the reason of a failure are those that the
    trial has written down.

    :param told: what the trial has written; ``None``: nothing.
    :param is_late: the time of the search is up: what is under way ends here.
    """
    state, reason = state_of(trial)
    if state is None and is_late:
        state, reason = "pruned", "the time of the search was up"
        if value_of(trial, metric) is None and told is not None and told.value is not None:
            # Katib waits without an end for metrics that nobody collects.
            state, reason = "failed", _NO_METRICS
    if state is None:
        return None
    name, value = str(trial["metadata"]["name"]), value_of(trial, metric)
    try:
        settings = settings_of(trial.get("spec", {}).get("parameterAssignments") or (), space)
    except ValueError as error:
        state, reason, settings = "failed", f"its settings cannot be read: {error}", {}
    if state == "finished" and value is None:
        state, reason = "failed", _NO_METRICS
    if told is None:
        told = EndedTrial(number, state, settings)
    if state == "failed" and told.reason:
        reason = told.reason
    is_the_same = value is not None and told.value is not None and abs(told.value - value) < 1e-6
    return replace(
        told,
        number=number,
        state=state,
        settings=settings,
        value=value,
        seconds=_seconds(trial),
        reason=reason[:_LONGEST_REASON],
        is_hopeless=state == "failed" and told.is_hopeless,
        memory={TRIAL: name},
        predicted=told.predicted if state == "finished" and is_the_same else None,
    )


def told_by(folder: str, name: str) -> EndedTrial | None:
    """Return what a trial has written down; ``None`` where that is nothing, or cannot be read."""
    import fsspec

    try:
        with fsspec.open(f"{folder}/{FOLDER}/{name}.json", "rb") as file:
            return EndedTrial.from_json(json.loads(file.read()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        return None


def _seconds(trial: Mapping[str, Any]) -> float:
    status = trial.get("status") or {}
    try:
        began, ended = (datetime.fromisoformat(str(status[key])) for key in ("startTime", "completionTime"))
    except (KeyError, ValueError):
        return 0.0
    return max(0.0, (ended - began).total_seconds())
