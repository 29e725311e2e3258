"""What the status of a pod says, made from the state of its containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.containers import Container

if TYPE_CHECKING:
    from tests.doubles.kubernetes.pod_run import PodRun


def pod_status(run: PodRun) -> dict[str, Any]:
    """Return the whole status."""
    status: dict[str, Any] = {"phase": _phase(run), "conditions": _conditions(run), "qosClass": _class(run)}
    if run.failure:
        status |= {"reason": run.failure[0], "message": run.failure[1]}
    if not run.started_at:
        return status
    status |= {"startTime": run.started_at, "hostIP": "192.168.0.1", "podIP": run.ip}
    if run.init_containers:
        status["initContainerStatuses"] = [item.status(image=item.spec["image"]) for item in run.init_containers]
    status["containerStatuses"] = [item.status(image=item.spec["image"]) for item in run.containers]
    return status


def _class(run: PodRun) -> str:
    """Return how late a pod is evicted: what it asks for decides, and that it is all that it may have."""
    containers = run.pod["spec"].get("initContainers", []) + run.pod["spec"]["containers"]
    resources = [entry.get("resources") or {} for entry in containers]
    if not any(resources):
        return "BestEffort"
    is_all = all({"cpu", "memory"} <= (entry.get("limits") or {}).keys() for entry in resources)
    is_same = all(entry.get("requests", entry.get("limits")) == entry.get("limits") for entry in resources)
    return "Guaranteed" if is_all and is_same else "Burstable"


def _phase(run: PodRun) -> str:
    if run.failure:
        return "Failed"
    never = run.pod["spec"].get("restartPolicy", "Always") == "Never"
    if never and any(item.exit_code not in (None, 0) for item in run.init_containers):
        return "Failed"
    if not any(item.has_run for item in run.containers) and not _all_over(run.containers):
        return "Pending"
    policy = run.pod["spec"].get("restartPolicy", "Always")
    if policy == "Always" or not _all_over(run.containers):
        return "Running"
    if any(item.exit_code != 0 for item in run.containers):
        return "Failed" if policy == "Never" else "Running"
    return "Succeeded"


def _all_over(containers: list[Container]) -> bool:
    return all(item.exit_code is not None for item in containers)


def _conditions(run: PodRun) -> list[dict[str, Any]]:
    if run.unschedulable:
        return [_condition("PodScheduled", False, "Unschedulable", run.unschedulable)]
    if not run.started_at:
        return []
    initialized = all(item.exit_code == 0 for item in run.init_containers)
    ready = all(item.ready for item in run.containers)
    reason, message = "", ""
    if not ready:
        unready = [item.name for item in run.containers if not item.ready]
        completed = _all_over(run.containers) and all(item.exit_code == 0 for item in run.containers)
        reason = "PodCompleted" if completed else "ContainersNotReady"
        message = "" if completed else f"containers with unready status: [{' '.join(unready)}]"
    return [
        _condition("PodScheduled", True),
        _condition("Initialized", initialized, "" if initialized else "ContainersNotInitialized"),
        _condition("ContainersReady", ready, reason, message),
        _condition("Ready", ready, reason, message),
    ]


def _condition(kind: str, holds: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    condition: dict[str, Any] = {"type": kind, "status": "True" if holds else "False", "lastProbeTime": None}
    condition["lastTransitionTime"] = timestamp()
    return condition | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})
