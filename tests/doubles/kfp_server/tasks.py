"""What a server keeps of a run from 3.0 on: a task for the pipeline and one for each step whose driver has begun."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from tests.doubles.kfp_server.argo import EXECUTOR, Node
from tests.doubles.kfp_server.values import timestamp, without_zero_values

_DRIVER = re.compile(r"(?P<step>.+)-driver(\(0\))?$")


#: Name under which a script gives the outputs of the pipeline itself.
PIPELINE = ""


def tasks_of(
    nodes: Iterable[Node],
    *,
    run_id: str,
    run_name: str,
    is_stopped: bool,
    template: Callable[[str], str] = lambda step: EXECUTOR,
    pipeline: str = "",
    outputs: Mapping[str, Mapping[str, Any]] = {},
) -> list[dict[str, Any]]:
    """Return the tasks behind a workflow's nodes, without their inputs.

    :param template: returns what a step's pod is made from.
    :param pipeline: its name, of which the addresses of artifacts are made.
    :param outputs: of steps, and of the pipeline itself (:data:`PIPELINE`): ``parameters`` (name -> value, a list where
        a loop has given them), ``artifacts`` (name -> address, or fields of an artifact), ``type`` of the task.

    A task is made by its driver, and its executor tells how it ended; so one whose pod never began has a driver only,
    and one whose pod was killed, as those of a workflow that is stopped are, goes on for ever.
    """
    nodes = [node for node in nodes if node.state]
    drivers = {match["step"]: node for node in nodes if node.is_pod and (match := _DRIVER.match(node.name))}
    executors = {node.group: node for node in nodes if node.is_executor}
    ends = {node.name: node for node in nodes}
    ids = {name: str(uuid5(NAMESPACE_OID, f"{run_id} {name}")) for name in drivers}
    tasks = []
    for name, driver in sorted(drivers.items(), key=lambda item: item[1].started):
        end, executor = ends.get(name, driver), executors.get(name)
        is_root, is_cached = name == "root", executor is not None and executor.state == "SKIPPED"
        state = "CACHED" if is_cached else "RUNNING" if is_stopped and end.state == "FAILED" else end.state
        pods = [(driver, "system-dag-driver" if is_root else "system-container-driver", "DRIVER")]
        if executor is not None and not is_cached:
            pods.append((executor, template(name), "EXECUTOR"))
        message = "failed to execute component: exit status 1" if executor else "resolving inputs: no such parameter"
        history = [(driver.started, "RUNNING")] + ([] if state == "RUNNING" else [(end.ended, state)])
        tasks.append(
            without_zero_values(
                {
                    "name": "ROOT" if is_root else name,
                    "display_name": run_name if is_root else name,
                    "task_id": ids[name],
                    "run_id": run_id,
                    "pods": [
                        {"name": node.pod(template), "uid": ids[name], "type": kind} for node, template, kind in pods
                    ],
                    "create_time": timestamp(driver.started),
                    "end_time": timestamp(end.ended) if end.ended and state != "RUNNING" else "",
                    "state": state,
                    "status_metadata": {"message": message} if state == "FAILED" and not is_root else {},
                    "state_history": [{"update_time": timestamp(when), "state": what} for when, what in history],
                    "type": "ROOT" if is_root else outputs.get(name, {}).get("type", "RUNTIME"),
                    "parent_task_id": "" if is_root else ids["root"],
                    "child_tasks": [{"task_id": ids[step], "name": step} for step in ids if step != "root"]
                    if is_root
                    else [],
                    "scope_path": "root" if is_root else f"root.{name}",
                }
            )
            # Where there are none, the object is there all the same.
            | {
                "outputs": _outputs(
                    outputs.get(PIPELINE if is_root else name, {}),
                    root=f"minio://mlpipeline/v2/artifacts/{pipeline}/{run_id}/{name}/{ids[name]}",
                    producer="ROOT" if is_root else name,
                    has_log=len(pods) > 1 and state != "RUNNING",
                )
            }
        )
    return tasks


def _outputs(given: Mapping[str, Any], *, root: str, producer: str, has_log: bool) -> dict[str, Any]:
    """Return a task's outputs as the API shows them.

    :param root: address below which its artifacts lie.
    :param has_log: whether its launcher has kept the log, which is an artifact then.
    """
    told: dict[str, Any] = {"parameters": [], "artifacts": []}
    for key, value in given.get("parameters", {}).items():
        kind = "ITERATOR_OUTPUT" if isinstance(value, tuple) else "OUTPUT"
        for each in value if isinstance(value, tuple) else [value]:
            told["parameters"].append(
                {"value": each, "type": kind, "parameter_key": key, "producer": {"task_name": producer}}
            )
    artifacts = dict(given.get("artifacts", {}))
    if has_log:
        artifacts["executor-logs"] = f"{root}/executor-logs-0"
    for key, value in artifacts.items():
        several = value if isinstance(value, list) else [value]
        found = [{"uri": each} if isinstance(each, str) else each for each in several]
        told["artifacts"].append(
            {
                "artifacts": [
                    {
                        "artifact_id": str(uuid5(NAMESPACE_OID, f"{root} {key} {position}")),
                        "name": key,
                        "type": "Artifact",
                        "created_at": timestamp(0),
                        "namespace": "team",
                    }
                    | artifact
                    for position, artifact in enumerate(found)
                ],
                "type": "OUTPUT",
                "artifact_key": key,
                "producer": {"task_name": producer},
            }
        )
    return {name: rows for name, rows in told.items() if rows}
