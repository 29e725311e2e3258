"""Reads the steps of a run, in whichever form its server tells them. Zero values are absent.

* Up to 2.17 ``run_details.task_details`` has a row for every node of the Argo workflow.
* 2.17 from its stock manifests gives every template a retry strategy: each node, the workflow itself too, comes with a
  row for each of its attempts (``record`` and ``record(0)``).
* From 3.0 on there are ``tasks``, for a single run that is asked for with ``view=FULL``; a list has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubeflow_provider.services import RunStep
from kubeflow_provider.states import RunState

# Nodes that are no step of the pipeline: its root, the pods that resolve a step's inputs, the pod of a step (its task
# has a node of its own), and the group of a loop's iterations.
_DRIVER = re.compile(r"-driver$")
_TECHNICAL = re.compile(r"^(root|executor|.*-iterations(\(.*\))?)$")
_ATTEMPT = re.compile(r"\(\d+\)$")
_NODE_ID = re.compile(r"^(?P<workflow>.+)-(?P<hash>\d+)$")

#: Templates that a step's pod is made from, as they stand in its name; the second one where the step has retries.
_TEMPLATES = ("system-container-impl", "retry-system-container-impl")
_TEMPLATE = re.compile(r"-(?=(retry-)?system-container-impl-\d+$)")

_CUT_OFF = "it was cut off: its pod was killed or lost, or the run was stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsTold:
    """What a run's document says of its steps.

    :param steps: those that have started, in that order; one that never began is not among them.
    :param not_started: the step whose driver failed, where that is why the run did.
    :param pods: names that the pods may have whose log tells of the failed step, or of the newest one where none
        failed; the newest first.
    :param message: what the server itself says of the failed step.
    :param is_complete: whether a step that failed would be among them for certain.
    """

    steps: tuple[RunStep, ...] = ()
    not_started: str | None = None
    pods: tuple[str, ...] = ()
    message: str | None = None
    is_complete: bool = False

    @property
    def failed(self) -> str | None:
        """Name of the step that failed last; a group that holds steps begins before them."""
        failed = [step.name for step in self.steps if step.state is RunState.FAILED]
        return failed[-1] if failed else None


def read_steps(document: Mapping[str, Any]) -> StepsTold:
    """Return what a run says of its steps.

    :param document: the run as the API shows it.
    """
    if tasks := document.get("tasks"):
        return _of_tasks(tasks, is_failed=document.get("state") == RunState.FAILED)
    if rows := document.get("run_details", {}).get("task_details"):
        return _of_nodes(rows)
    return StepsTold()


def known_state(state: str | None) -> RunState:
    """Return the state, ``UNKNOWN`` for one that a later server may have."""
    return RunState.__members__.get(state or "", RunState.UNKNOWN)


# Up to 2.17: nodes of the workflow


def _of_nodes(rows: Iterable[Mapping[str, Any]]) -> StepsTold:
    # A row without a state stands for a node that never began, because an earlier one failed.
    began = [row for row in rows if row.get("display_name") and row.get("state")]
    # Times are whole seconds. The group that holds a step has started before it.
    began.sort(key=lambda row: (row.get("start_time", ""), row.get("end_time", "")))
    # The workflow's own node bears the workflow's name, with which the ids of all nodes begin.
    workflows = {match["workflow"] for child in _children(began) if (match := _NODE_ID.match(child))}
    nodes = [row for row in began if not _ATTEMPT.search(row["display_name"])]
    rows = [row for row in nodes if not _is_technical(row["display_name"], workflows)]
    executors = [row for row in nodes if row["display_name"] == "executor"]
    # The server does not tell which executor belongs to which step. One that was skipped because an earlier result
    # was used takes no time, and its step begins and ends with it.
    cached = {_span(row) for row in executors if row["state"] == RunState.SKIPPED}
    steps = [_step(row, is_cached=_span(row) in cached) for row in rows]
    failed = [row for row in rows if row["state"] == RunState.FAILED]
    drivers = [row for row in nodes if _DRIVER.search(row["display_name"]) and row["state"] == RunState.FAILED]
    not_started = _DRIVER.sub("", drivers[-1]["display_name"]) if drivers and not failed else None
    if not_started:
        steps.append(RunStep(name=f"{not_started}-driver", state=RunState.FAILED))
    if failed:
        executors = [row for row in executors if row["state"] == RunState.FAILED]
    names = {row["display_name"] for row in began}
    pods = _pods_of_nodes((failed or rows)[-1:], executors[-1:], names)
    return StepsTold(steps=tuple(steps), not_started=not_started, pods=pods, is_complete=True)


def _is_technical(name: str, workflows: set[str]) -> bool:
    return bool(name in workflows or _DRIVER.search(name) or _TECHNICAL.match(name))


def _step(row: Mapping[str, Any], *, is_cached: bool) -> RunStep:
    state = known_state(row["state"])
    if state is RunState.SUCCEEDED and is_cached:
        return RunStep(name=row["display_name"], state=RunState.SKIPPED, progress="cached")
    return RunStep(name=row["display_name"], state=state)


def _span(row: Mapping[str, Any]) -> tuple[str, str]:
    return row.get("start_time", ""), row.get("end_time", "")


def _children(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [child["pod_name"] for row in rows for child in row.get("child_tasks", []) if child.get("pod_name")]


def _pods_of_nodes(
    step: Sequence[Mapping[str, Any]], executor: Sequence[Mapping[str, Any]], names: set[str]
) -> tuple[str, ...]:
    """Return the names that a step's pods may have; rows tell the ids of their children, never their own.

    Where anything is tried again the children of a node are its attempts, and attempts of an executor are pods. An
    executor without attempts is a pod itself, the child of its step.
    """
    ids: list[str] = []
    if "executor(0)" in names:
        ids += reversed(_children(executor))
    ids += [child for row in step if f"{row['display_name']}(0)" not in names for child in _children([row])]
    return tuple(name for node in dict.fromkeys(ids) for name in _pod_names(node))


def _pod_names(node: str) -> list[str]:
    """Return the names that a node's pod may have: Argo puts the template's name into the node's id."""
    match = _NODE_ID.match(node)
    return [f"{match['workflow']}-{template}-{match['hash']}" for template in _TEMPLATES] + [node] if match else [node]


def labelled_pods(names: Iterable[str], platform: Mapping[str, Any]) -> list[str]:
    """Return the names that pods have in place of these where their steps have labels or annotations.

    :param platform: platform spec of the run's pipeline.
    """
    executors = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    metadata = [config["podMetadata"] for config in executors.values() if "podMetadata" in config]
    numbers = dict.fromkeys((len(each.get("annotations", {})), len(each.get("labels", {}))) for each in metadata)
    return [
        _TEMPLATE.sub(f"-metadata-{annotations}-{labels}-", name, count=1)
        for name in names
        if _TEMPLATE.search(name)
        for annotations, labels in numbers
    ]


# From 3.0 on: tasks


def _of_tasks(tasks: Sequence[Mapping[str, Any]], *, is_failed: bool) -> StepsTold:
    rows = [task for task in tasks if task.get("name") and task.get("state") and task.get("type") != "ROOT"]
    rows.sort(key=lambda task: task.get("create_time", ""))
    steps = [_step_of_task(task, is_over=is_failed) for task in rows]
    failed = [task for task, step in zip(rows, steps, strict=True) if step.state is RunState.FAILED]
    if not rows or (is_failed and not failed):
        # The driver of the whole pipeline tells of its failure in the task that stands for it.
        messages = [_message(task) for task in tasks if task.get("state") == RunState.FAILED]
        return StepsTold(steps=tuple(steps), message=next(filter(None, messages), None))
    task = (failed or rows)[-1]
    executors = _pods_of_task(task, "EXECUTOR")
    is_not_started = task["state"] == RunState.FAILED and task.get("type") == "RUNTIME" and not executors
    return StepsTold(
        steps=tuple(steps),
        not_started=task["name"] if is_not_started else None,
        pods=tuple(executors or _pods_of_task(task, "DRIVER")),
        message=_message(task) or (_CUT_OFF if failed and task["state"] == RunState.RUNNING else None),
    )


def _message(task: Mapping[str, Any]) -> str | None:
    message: str | None = task.get("status_metadata", {}).get("message")
    return message


def _step_of_task(task: Mapping[str, Any], *, is_over: bool) -> RunStep:
    if task["state"] == "CACHED":
        return RunStep(name=task["name"], state=RunState.SKIPPED, progress="cached")
    state = known_state(task["state"])
    # A task is told its end by its own pod. One that was killed with all that was in it told none.
    return RunStep(name=task["name"], state=RunState.FAILED if is_over and state is RunState.RUNNING else state)


def _pods_of_task(task: Mapping[str, Any], kind: str) -> list[str]:
    return [pod["name"] for pod in reversed(task.get("pods", [])) if pod.get("type") == kind and pod.get("name")]
