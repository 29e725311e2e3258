"""Why a pod does not become ready, and whether it is worth waiting. KServe's own status tells little of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubeflow_provider.hooks._kserve.observation import Observation, find, parse_time
from kubeflow_provider.hooks._kserve.specs import CONTAINER

Object = dict[str, Any]

#: Nothing inside the cluster heals these.
_HOPELESS_WAITS = {
    "InvalidImageName": "the name of its image is wrong",
    "ErrImageNeverPull": "its image is not on the node, and must not be pulled",
    "CreateContainerConfigError": "a Secret, ConfigMap or folder that it needs is missing",
    "CreateContainerError": "its container cannot be made",
    "RunContainerError": "its container cannot be started",
}
_IMAGE_WAITS = ("ImagePullBackOff", "ErrImagePull")
_MOUNT_EVENTS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_OUT_OF_MEMORY = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long something that may heal is given.

    :param grace_seconds: for images, crashes and refusals.
    :param restarts: so many of a container are no accident any more.
    :param unschedulable_seconds: for a node that an autoscaler may have to start.
    :param route_seconds: for a gateway to learn of a service that is ready.
    """

    grace_seconds: float = 90
    restarts: int = 2
    unschedulable_seconds: float = 600
    route_seconds: float = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps a version from becoming ready.

    :param is_hopeless: waiting longer changes nothing.
    :param pod: whose log tells more; ``None`` where none does.
    :param container: of that pod.
    :param has_crashed: the log of the container before the present one is the one to read.
    """

    text: str
    is_hopeless: bool
    pod: str | None = None
    container: str = CONTAINER
    has_crashed: bool = False


def pod_troubles(pod: Object, seen: Observation, patience: Patience) -> Iterator[Trouble]:
    """Yield what is wrong with a pod, causes first."""
    age = seen.seconds_since(parse_time(pod["metadata"].get("creationTimestamp")))
    yield from _scheduling(pod, age, patience)
    yield from _mounts(pod, seen)
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    found = [trouble for container in containers for trouble in _container(pod, container, age, patience)]
    # What happens to the model's container happens to its sidecars too; its own word is the one that helps.
    yield from [trouble for trouble in found if trouble.container == CONTAINER] or found


def _scheduling(pod: Object, age: float, patience: Patience) -> Iterator[Trouble]:
    condition = find((pod.get("status") or {}).get("conditions"), "PodScheduled")
    if condition.get("status") != "False":
        return
    message = condition.get("message", "").rstrip(".")
    is_missing = "persistentvolumeclaim" in message and "not found" in message
    if is_missing:
        yield Trouble(
            text=f"{_name(pod)} cannot start: {message}. Create that claim in its namespace.", is_hopeless=True
        )
        return
    yield Trouble(
        text=f"{_name(pod)} has waited {age:.0f} s for a node: {message}. Ask for less "
        "(`serving.kserve.cpu`, `memory`, `gpu`), or give the cluster more.",
        is_hopeless=age >= patience.unschedulable_seconds,
    )


def _mounts(pod: Object, seen: Observation) -> Iterator[Trouble]:
    if any("running" in (item.get("state") or {}) for item in (pod.get("status") or {}).get("containerStatuses") or []):
        return  # it was mounted in the end
    for event in seen.events_of(pod):
        if event.get("reason") in _MOUNT_EVENTS:
            message = event.get("message", "")
            yield Trouble(
                text=f"{_name(pod)} cannot mount a volume ({event['reason']}): {message}",
                is_hopeless="not found" in message,
            )


def _container(pod: Object, status: Object, age: float, patience: Patience) -> Iterator[Trouble]:
    name, restarts = status.get("name", ""), status.get("restartCount", 0)
    what = f"{_name(pod)}, container {name}"
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _HOPELESS_WAITS:
        text = f"{what}: {_HOPELESS_WAITS[reason]} ({reason}): {message}"
        yield Trouble(text=text, is_hopeless=True, container=name)
    elif reason in _IMAGE_WAITS:
        text = f"{what}: its image {status.get('image')} cannot be pulled ({reason}): {message}"
        yield Trouble(text=text, is_hopeless=age >= patience.grace_seconds, container=name)
    elif end := _last_end(status):
        words = (end.get("message") or "").strip()
        last_words = f". Its last words:\n{words}" if words else ""
        yield Trouble(
            text=f"{what} {_ending(name, end)}, {restarts} restart(s) so far{last_words}",
            is_hopeless=restarts >= patience.restarts or age >= patience.grace_seconds,
            pod=None if words else pod["metadata"]["name"],
            container=name,
            has_crashed="terminated" not in (status.get("state") or {}),
        )


def _last_end(status: Object) -> Object | None:
    """Return how a container ended that should be running, or have ended well."""
    ends = ((status.get(key) or {}).get("terminated") for key in ("state", "lastState"))
    return next((end for end in ends if end and end.get("exitCode")), None)


def _ending(container: str, end: Object) -> str:
    if end.get("reason") == "OOMKilled" or end.get("exitCode") == _OUT_OF_MEMORY:
        advice = ": raise `serving.kserve.memory`" if container == CONTAINER else ""
        return f"ran out of memory (exit code 137){advice}"
    return f"ended with exit code {end['exitCode']}"


def _name(pod: Object) -> str:
    return f"Pod {pod['metadata']['name']}"
