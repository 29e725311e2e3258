"""``status.modelStatus``, with all that it does not say.

Only the newest pod is looked at. A crash or a failed download makes FailedToLoad; an image that cannot be pulled, a
missing volume or secret, a pod without room or over the quota stays Pending for ever. ``lastFailureInfo`` is never
cleared (facts on KServe, 3).
"""

from __future__ import annotations

from typing import Any

from tests.doubles.kubernetes.kserve.templates import CONTAINER, InvalidSpec
from tests.doubles.kubernetes.store import Object


def model_status(before: dict[str, Any], pods: list[Object], *, serves: bool, revision: str = "") -> dict[str, Any]:
    """Return the new model status.

    :param before: the one until now.
    :param pods: of the newest revision, the oldest first.
    :param serves: whether the newest revision is ready.
    """
    failed = sum(_failure(pod) is not None for pod in pods)
    copies = {"failedCopies": failed} | ({"totalCopies": len(pods)} if pods else {})
    status = {**before, "copies": copies}
    earlier = before.get("states", {})
    active = earlier.get("activeModelState", "")
    newest = pods[-1] if pods else None
    if serves:
        status["states"] = {"activeModelState": "Loaded", "targetModelState": "Loaded"}
        status["transitionStatus"] = "UpToDate"
        return status
    failure = _failure(newest) if newest else None
    if failure:
        status["states"] = {"activeModelState": active, "targetModelState": "FailedToLoad"}
        status["transitionStatus"] = "BlockedByFailedLoad"
        status["lastFailureInfo"] = {"reason": "ModelLoadFailed", **failure, "modelRevisionName": revision}
        return status
    target = "Loading" if newest and _is_loading(newest) else "Pending"
    status["states"] = {"activeModelState": active, "targetModelState": target}
    status["transitionStatus"] = "InProgress"
    return status


def invalid(before: dict[str, Any], problem: InvalidSpec) -> dict[str, Any]:
    """Return the model status of a service that cannot be deployed as it is described."""
    return {
        **before,
        "states": {
            "activeModelState": before.get("states", {}).get("activeModelState", ""),
            "targetModelState": "FailedToLoad",
        },
        "transitionStatus": "InvalidSpec",
        "lastFailureInfo": {"reason": problem.reason, "message": str(problem)},
    }


def _failure(pod: Object) -> dict[str, Any] | None:
    """Return message and exit code when the pod's model failed to load."""
    status = pod.get("status", {})
    for key, name in (("initContainerStatuses", "storage-initializer"), ("containerStatuses", CONTAINER)):
        for container in status.get(key) or []:
            if container["name"] != name:
                continue
            terminated = container["state"].get("terminated", {})
            waiting = container["state"].get("waiting", {})
            if waiting.get("reason") == "CrashLoopBackOff":
                terminated = container.get("lastState", {}).get("terminated", {})
            elif terminated.get("reason") != "Error":
                continue
            return {"message": terminated.get("message", ""), "exitCode": terminated.get("exitCode", 0)}
    return None


def _is_loading(pod: Object) -> bool:
    statuses = pod.get("status", {}).get("initContainerStatuses") or []
    running = [entry for entry in statuses if "running" in entry["state"]]
    started = [entry for entry in pod.get("status", {}).get("containerStatuses") or [] if "running" in entry["state"]]
    return bool(running or any(entry["name"] == CONTAINER for entry in started))
