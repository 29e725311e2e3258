"""Why a pod does not become ready, and whether it is worth waiting. KServe's own status tells little of it.

| what is seen | whose it is | what becomes of it |
|---|---|---|
| evicted, drained, preempted, lost or ended with its node | the cluster's | named and waited out |
| exit code 137 that is not memory, 143; a failed probe is not behind it | the cluster's | named and waited out |
| a registry that does not answer; a volume that is busy elsewhere | the cluster's | named and waited out |
| no node with room | the cluster's, or what it asks for | waited for long, then given up by name |
| out of memory, another exit code, a failed probe, again and again | its own | given up |
| an image, Secret, claim or volume that is not there | its own settings | given up |

For how long is waited in the end, whoever asks decides; the last reason is told then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kubeflow_provider.hooks._kserve.observation import Observation, find, parse_time
from kubeflow_provider.kubernetes.inference_service import CONTAINER

Object = dict[str, Any]

#: Why a container does not start, for reasons that nothing inside the cluster heals.
_HOPELESS_WAITS = {
    "InvalidImageName": "the name of its image is wrong",
    "ErrImageNeverPull": "its image is not on the node, and must not be pulled",
    "CreateContainerConfigError": "a Secret, ConfigMap or folder that it needs is missing",
    "CreateContainerError": "its container cannot be made",
    "RunContainerError": "its container cannot be started",
}
_IMAGE_WAITS = ("ImagePullBackOff", "ErrImagePull")
#: What is said of a registry that is away or has had enough, and not of an image that it does not have.
_REGISTRY_IS_AWAY = re.compile(
    r"time[d ]*-?out|connection (refused|reset)|no such host|too ?many ?requests|\b(429|50[0234])\b|unexpected EOF",
    re.IGNORECASE,
)
_MOUNT_EVENTS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")

#: Why a pod ended that was none of its own doing; its controller makes another one. A pod of a full or broken node has
#: one of further reasons (``OutOfcpu``, ``NodeAffinity`` ...), so that this only says it better.
_TAKEN_AWAY = {
    "Evicted": "was evicted from its node",
    "Preempting": "made room for a more important pod",
    "Preempted": "made room for a more important pod",
    "NodeLost": "was lost with its node",
    "NodeShutdown": "was ended with its node",
    "Shutdown": "was ended with its node",
    "Terminated": "was ended with its node",
}
#: Condition of a pod that is being taken away, by an eviction or a drain for example; its reason says by what.
_DISRUPTION = "DisruptionTarget"

_SIGKILL, _SIGTERM = 137, 143
#: Kubernetes forgets earlier crashes of a container that has run for so long.
_FORGOTTEN_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long something that may heal is given.

    :param grace_seconds: for images, crashes and refusals.
    :param restarts: so many of a container are no accident any more.
    :param unschedulable_seconds: for a node that an autoscaler may have to start.
    :param route_seconds: for a gateway to learn of a service that is ready.
    :param settle_seconds: for KServe to see a change, where nothing tells that it has.
    """

    grace_seconds: float = 90
    restarts: int = 2
    unschedulable_seconds: float = 600
    route_seconds: float = 120
    settle_seconds: float = 5


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
    if taken_away := _taken_away(pod):
        yield Trouble(text=taken_away, is_hopeless=False)
        return
    age = seen.seconds_since(parse_time(pod["metadata"].get("creationTimestamp")))
    yield from _scheduling(pod, age, patience)
    yield from _mounts(pod, seen)
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    found = [trouble for container in containers for trouble in _container(pod, container, seen, age, patience)]
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
        text=f"{_name(pod)} has waited {age:.0f} s of at most {patience.unschedulable_seconds:.0f} s for a node: "
        f"{message}. Ask for less CPU or memory or fewer GPUs, or give the cluster more.",
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


def _container(pod: Object, status: Object, seen: Observation, age: float, patience: Patience) -> Iterator[Trouble]:
    name, restarts = status.get("name", ""), status.get("restartCount", 0)
    what = f"{_name(pod)}, container {name}"
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _HOPELESS_WAITS:
        text = f"{what}: {_HOPELESS_WAITS[reason]} ({reason}): {message}"
        yield Trouble(text=text, is_hopeless=True, container=name)
    elif reason in _IMAGE_WAITS:
        text = f"{what}: its image {status.get('image')} cannot be pulled ({reason}): {message}"
        events = [event for event in seen.events_of(pod) if event.get("reason") == "Failed"]
        is_own = not any(_REGISTRY_IS_AWAY.search(said.get("message", "")) for said in (waiting, *events))
        yield Trouble(text=text, is_hopeless=is_own and age >= patience.grace_seconds, container=name)
    elif end := _last_end(status):
        words = (end.get("message") or "").strip()
        last_words = f". Its last words:\n{words}" if words else ""
        ending, is_own = _ending(pod, name, end, seen)
        is_repeated = restarts >= patience.restarts or age >= patience.grace_seconds
        yield Trouble(
            text=f"{what} {ending}, {restarts} restart(s) so far{last_words}",
            is_hopeless=is_own and is_repeated and not _is_accident(end),
            pod=None if words else pod["metadata"]["name"],
            container=name,
            has_crashed="terminated" not in (status.get("state") or {}),
        )


def _taken_away(pod: Object) -> str | None:
    """Say by what a pod was ended whose end is no fault of what it runs, ``None`` for any other."""
    status = pod.get("status") or {}
    condition = find(status.get("conditions"), _DISRUPTION)
    is_marked = condition.get("status") == "True"
    if status.get("phase") != "Failed" and not is_marked:
        return None
    reason = status.get("reason") or ""
    marks = [condition.get("reason"), condition.get("message")] if is_marked else []
    words = [word.strip() for word in (reason, status.get("message"), *marks) if word]
    told = ": ".join(dict.fromkeys(filter(None, words))) or "nobody says why"
    return f"{_name(pod)} {_TAKEN_AWAY.get(reason, 'was taken away')} ({told}); waiting for another"


def _last_end(status: Object) -> Object | None:
    """Return how a container ended that should be running, or have ended well."""
    ends = ((status.get(key) or {}).get("terminated") for key in ("state", "lastState"))
    return next((end for end in ends if end and end.get("exitCode")), None)


def _is_accident(end: Object) -> bool:
    """Tell whether a container had run for long before it ended, so that its restarts are no loop."""
    began, ended = parse_time(end.get("startedAt")), parse_time(end.get("finishedAt"))
    return bool(began and ended and (ended - began).total_seconds() >= _FORGOTTEN_SECONDS)


def _ending(pod: Object, container: str, end: Object, seen: Observation) -> tuple[str, bool]:
    """Return how a container ended, and whether that was its own fault."""
    code = end["exitCode"]
    if end.get("reason") == "OOMKilled":
        advice = ": give it more memory" if container == CONTAINER else ""
        return f"ran out of memory (exit code {code}){advice}", True
    if end.get("reason") == "ContainerStatusUnknown":
        return f"was lost with its node (exit code {code})", False
    if code in (_SIGKILL, _SIGTERM):
        if probe := _failed_probe(pod, seen):
            return f"was ended because it does not answer (exit code {code}): {probe}", True
        return f"was ended from outside (exit code {code}, not for its memory): by its node or by somebody", False
    return f"ended with exit code {code}", True


def _failed_probe(pod: Object, seen: Observation) -> str | None:
    """Return what Kubernetes said when it ended a container whose liveness or start-up probe has failed."""
    said = (str(event.get("message", "")) for event in seen.events_of(pod) if event.get("reason") == "Killing")
    return next((words for words in said if "probe" in words), None)


def _name(pod: Object) -> str:
    return f"Pod {pod['metadata']['name']}"
