"""Why a training over nodes does not go on, read from its pods: no job says so, and pods go away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from include.classifier.training.nodes.kinds import Kind

#: What a container waits for that seldom comes by itself, and how long it may, in seconds.
_HARDLY_COMES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError")
HOPELESS_SECONDS = 600

_KILLED, _TOLD_TO_END = 137, 143
_MOST_CHARACTERS = 500
#: What no log should hold.
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class Reason(NamedTuple):
    """Why a node has ended, or does not begin.

    :param at: when it ended, as Kubernetes writes it; empty for one that waits.
    :param may_pass: whether another try, or more time, may help.
    :param is_consequence: whether it was told to end, because another one has.
    """

    words: str
    at: str = ""
    may_pass: bool = True
    is_consequence: bool = False


class Watched:
    """Keeps what pods have shown: once their job has failed, the others are deleted, and often all of them.

    :param clock: returns seconds.
    """

    def __init__(self, kind: Kind, clock: Callable[[], float]) -> None:
        self._kind = kind
        self._clock = clock
        self._stuck_since: float | None = None
        #: Why the first node that ended has done so; what follows are consequences.
        self.failure: Reason | None = None
        #: What nodes wait for now.
        self.waits: Reason | None = None
        self.has_pods = False

    def look(self, pods: Iterable[Mapping[str, Any]]) -> None:
        """Take what pods show now."""
        pods = list(pods)
        self.has_pods = self.has_pods or bool(pods)
        ended = [found for pod in pods if (found := ended_for(pod, self._kind))]
        known = [self.failure] if self.failure else []
        # Of two in the same second the one that was seen first.
        self.failure = min([*known, *ended], key=lambda each: (each.is_consequence, each.at or "~"), default=None)
        self.waits = next((found for pod in pods if (found := waits_for(pod, self._kind))), None)
        if self.waits is None or self.waits.may_pass:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = self._clock()

    @property
    def is_stuck(self) -> bool:
        """Whether a node has waited too long for what does not come by itself."""
        return self._stuck_since is not None and self._clock() - self._stuck_since >= HOPELESS_SECONDS


def ended_for(pod: Mapping[str, Any], kind: Kind) -> Reason | None:
    """Return why a node has ended that should not have."""
    status, node = pod.get("status") or {}, f"node {kind.rank(pod)}"
    for container in status.get("containerStatuses") or []:
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            ended = state.get("terminated") or {}
            if container.get("name") == kind.container and ended.get("exitCode"):
                if ended["exitCode"] == _TOLD_TO_END or pod["metadata"].get("deletionTimestamp"):
                    at = str(ended.get("finishedAt") or "")
                    return Reason(f"node {kind.rank(pod)} was told to end", at, is_consequence=True)
                return _of_container(node, ended)
    if status.get("phase") == "Failed":
        disrupted = next((each for each in _true(status, "DisruptionTarget")), {})
        why = _joined(
            status.get("reason") or disrupted.get("reason"), status.get("message") or disrupted.get("message")
        )
        return Reason(f"{node} was lost ({why or 'no reason given'})", str(disrupted.get("lastTransitionTime") or ""))
    return None


def _of_container(node: str, ended: Mapping[str, Any]) -> Reason:
    code, at = int(ended["exitCode"]), str(ended.get("finishedAt") or "")
    if ended.get("reason") == "OOMKilled":
        why = "was killed because its memory ran out: lower batch_size, or raise resources.memory"
        return Reason(f"{node} {why}", at, may_pass=False)
    said = [line.strip() for line in _CONTROL.sub("", str(ended.get("message") or "")).splitlines() if line.strip()]
    how = "was killed from outside" if code == _KILLED else f"ended with exit code {code}"
    return Reason(f"{node} {how}{f': {said[-1][:_MOST_CHARACTERS]}' if said else ''}", at)


def waits_for(pod: Mapping[str, Any], kind: Kind) -> Reason | None:
    """Return what a node waits for before it begins."""
    status, node = pod.get("status") or {}, f"node {kind.rank(pod)}"
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in (*_HARDLY_COMES, "CrashLoopBackOff"):
            return Reason(f"{node} waits ({_joined(waiting['reason'], waiting.get('message'))})", may_pass=False)
    for each in status.get("conditions") or []:
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return Reason(f"{node} waits for room ({_joined(each.get('reason'), each.get('message'))})")
    return None


def is_running(pod: Mapping[str, Any]) -> bool:
    """Tell whether a node computes."""
    return (pod.get("status") or {}).get("phase") == "Running"


def _true(status: Mapping[str, Any], kind: str) -> Iterable[Mapping[str, Any]]:
    return (each for each in status.get("conditions") or [] if (each.get("type"), each.get("status")) == (kind, "True"))


def _joined(*words: Any) -> str:
    said = ": ".join(_CONTROL.sub(" ", str(word).strip()) for word in words if word)
    return " ".join(said.split())[:_MOST_CHARACTERS]
