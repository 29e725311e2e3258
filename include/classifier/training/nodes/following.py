"""Makes the job of a training over nodes, or finds the one of an earlier start, follows it and ends it.

A try is a job with a name of its own. A node that is lost fails its job; the next one goes on from the last state. Two
there never are at once: a job is deleted, and waited for, before the next is made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, NamedTuple

from include.classifier.cluster.api import ClusterError, UnreachableError
from include.classifier.cluster.waiting import ends_with_the_run, patiently
from include.classifier.progress import duration, report
from include.classifier.training.nodes import pods
from include.classifier.training.nodes.cluster import Log, TrainingCluster
from include.classifier.training.nodes.kinds import TRAINING, Kind, Wanted, name_of
from include.classifier.training.nodes.task import Ended, NodesError, TaskFolder

#: Of one start of the step.
MAX_TRIES = 4

#: How long a job that was deleted is waited for, in seconds: on a node that is lost its pod stays, and cannot go on.
_GOING_SECONDS = 120
#: The same when the step itself is to end, and is killed thirty seconds after it was told so.
_CANCEL_SECONDS = 20
#: A job of which nothing is made in so many seconds is one that the cluster has refused after it took it.
_NOTHING_SECONDS = 600
#: Looks at a job one of whose nodes has ended, before it is ended: the others may say more.
_LAST_LOOKS = 3
#: The cluster ends a job so long after the step would have, in seconds, whoever is left to end it.
_GRACE_SECONDS = 600


class Outcome(NamedTuple):
    """How a try ended.

    :param reason: empty for one that has trained the model.
    :param may_pass: whether another try may end otherwise.
    """

    reason: str = ""
    may_pass: bool = True


class _Running(NamedTuple):
    name: str
    uid: str = ""


@dataclass
class NodesTraining:
    """Trains over nodes.

    :param folder: what the nodes are told and tell.
    :param training: digest of what is trained, and for which release.
    :param wanted: makes a try of its name, its number from 1 and the seconds that it has.
    :param poll: seconds between two looks.
    :param clock: returns seconds.
    """

    cluster: TrainingCluster
    kind: Kind
    folder: TaskFolder
    model: str
    training: str
    wanted: Callable[[str, int, float], Wanted]
    timeout_seconds: float
    poll: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _running: _Running | None = field(default=None, init=False)

    def run(self) -> None:
        """Train, and return once the trained model is in the store.

        :raises NodesError: when no try has come to an end, with the reason of the last one.
        :raises TrainingDivergedError: and what else a node says that no new try ends otherwise.
        """
        with ends_with_the_run(self._cancel):
            for left in reversed(range(MAX_TRIES)):
                if self._seconds_left() <= 0:
                    raise NodesError(self._too_late())
                attempt = len(self.folder.journal().ended) + 1
                outcome = self._try(attempt)
                if not outcome.reason:
                    return
                if error := self.folder.failure(attempt):
                    raise error
                if not outcome.may_pass or not left:
                    tried = f" It was tried {MAX_TRIES} times." if outcome.may_pass else ""
                    raise NodesError(f"{outcome.reason}.{tried}")
                report(f"train: {outcome.reason}; another {self.kind.title} goes on from the last state")

    def _try(self, attempt: int) -> Outcome:
        self._running = _Running(name_of(self.model, self.training, attempt))
        self._running = running = self._begin(self._running.name, attempt)
        outcome = self._follow(running)
        if outcome.reason:
            # Before it is deleted: what was seen to be over is over, whatever becomes of it.
            self.folder.end(Ended(name=running.name, uid=running.uid, reason=outcome.reason))
        self._delete(running, _GOING_SECONDS)
        self._running = None
        return outcome

    def _begin(self, name: str, attempt: int) -> _Running:
        """Make the job, or find the one of an earlier start of the step; never a second."""
        while True:
            found = self._patiently(lambda: self.cluster.find(self.kind, name))
            if found is None:
                wanted = self.wanted(name, attempt, max(0.0, self._seconds_left()) + _GRACE_SECONDS)
                body = self.kind.body(wanted)
                self._patiently(partial(self.cluster.try_out, self.kind, body))
                made = self._patiently(partial(self.cluster.create, self.kind, body))
                if made:
                    report(f"train: {self.kind.title} {name}: {wanted.nodes} nodes of {wanted.processes} processes")
                    return _Running(name, made["metadata"]["uid"])
                continue  # somebody was faster, or the answer to an earlier request was lost
            metadata = found["metadata"]
            if not self._is_ours(found):
                raise NodesError(
                    f"{self.kind.title} {name} in namespace {self.cluster.namespace} trains something else. Delete it, "
                    "or start another release."
                )
            if not metadata.get("deletionTimestamp"):
                report(f"train: goes on with {self.kind.title} {name}")
                return _Running(name, metadata["uid"])
            self._wait()  # that of an earlier start is going

    def _follow(self, running: _Running) -> Outcome:
        watched, log = pods.Watched(self.kind, self.clock), Log(self.cluster, self.kind.container, self.clock)
        began, said, last_looks = self.clock(), "", _LAST_LOOKS
        while True:
            found = self._patiently(lambda: self.cluster.find(self.kind, running.name))
            if found is None or found["metadata"]["uid"] != running.uid:
                why = watched.failure.words if watched.failure else "start the release again: it goes on from there"
                return Outcome(f"{self.kind.title} {running.name} was deleted from outside ({why})", may_pass=False)
            state, words = self.kind.ended(found)
            nodes = self._patiently(lambda: self.cluster.pods(self.kind, running.name))
            watched.look(nodes)
            self._tell_log(log, nodes)
            if state == "complete":
                return Outcome()
            last_looks -= watched.failure is not None
            if outcome := self._over(running, watched, state, words, is_settled=last_looks < 0, began=began):
                return outcome
            if (now := self._in_words(nodes, watched, state, words)) != said:
                report(f"train: {now}")
                said = now
            self._wait()

    def _over(
        self, running: _Running, watched: pods.Watched, state: str, words: str, *, is_settled: bool, began: float
    ) -> Outcome | None:
        """Return why a try is over that has trained no model; ``None`` while it goes on."""
        job = f"{self.kind.title} {running.name}"
        if state == "failed" or is_settled:
            if watched.failure:
                return Outcome(f"{job}: {watched.failure.words}", watched.failure.may_pass)
            return Outcome(f"{job} failed ({words}), and none of its pods is left to say why")
        if self._seconds_left() <= 0:
            return Outcome(self._too_late(watched.waits.words if watched.waits else ""), may_pass=False)
        if watched.is_stuck and watched.waits:
            return Outcome(f"{job}: {watched.waits.words}, for {pods.HOPELESS_SECONDS // 60} minutes", may_pass=False)
        if not watched.has_pods and not state and self.clock() - began > _NOTHING_SECONDS:
            why = f"`kubectl describe {self.kind.plural} {running.name}` says why"
            return Outcome(f"{job} was taken, and no pod was made of it: {why}", may_pass=False)
        return None

    def _in_words(self, nodes: list[dict[str, Any]], watched: pods.Watched, state: str, words: str) -> str:
        if state == "suspended":
            return f"{self.kind.title} is suspended ({words}): a queue, or somebody, has to let it go on"
        if watched.failure:
            return watched.failure.words
        running = sum(map(pods.is_running, nodes))
        return f"{running} of {len(nodes)} nodes run{f'; {watched.waits.words}' if watched.waits else ''}"

    def _tell_log(self, log: Log, nodes: list[dict[str, Any]]) -> None:
        """Print what the first node says, which speaks for all."""
        first = next((node for node in nodes if self.kind.rank(node) == 0), None)
        if first is None:
            return
        try:
            lines = log.new_lines(first["metadata"]["name"])
        except ClusterError as error:
            lines = [] if str(error) == log.refused else [f"train: the first node's log cannot be read ({error})"]
            log.refused = str(error)
        for line in lines:
            if line.startswith("train: "):
                report(line)
            else:
                print(line, flush=True)

    @cached_property
    def _began_at(self) -> datetime:
        return self.folder.journal().began_at

    def _seconds_left(self) -> float:
        return self.timeout_seconds - (datetime.now(UTC) - self._began_at).total_seconds()

    def _too_late(self, waits: str = "") -> str:
        hours = f"training.nodes_timeout_hours ({self.timeout_seconds / 3600:g})"
        return f"The training over nodes took longer than {hours}{f'; {waits}' if waits else ''}"

    def _is_ours(self, job: Mapping[str, Any]) -> bool:
        return (job["metadata"].get("annotations") or {}).get(TRAINING) == self.training

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Return what a call returns, once the server answers.

        :raises NodesError: when it refuses, or is away for half an hour. The job is left: a retry follows it.
        """
        try:
            return patiently(call, wait=self._wait)
        except UnreachableError as error:
            raise NodesError(f"{error}. A retry of the step goes on with what is under way.") from None
        except ClusterError as error:
            raise NodesError(f"training.nodes: {error}.") from None

    def _wait(self) -> None:
        threading.Event().wait(self.poll)

    def _delete(self, running: _Running, seconds: float) -> None:
        """Delete a job, and wait until its pods are gone. Where the server does not answer, it goes with its owner."""
        with suppress(ClusterError):
            self.cluster.delete(self.kind, running.name, running.uid)
        until = self.clock() + seconds
        while self._is_there(running):
            if self.clock() > until:
                report(
                    f"train: {self.kind.title} {running.name} is deleted, and not gone after {duration(seconds)}: is a "
                    "node of the cluster lost?"
                )
                return
            threading.Event().wait(min(self.poll, 1.0))

    def _is_there(self, running: _Running) -> bool:
        try:
            found: Mapping[str, Any] | None = self.cluster.find(self.kind, running.name)
        except ClusterError:
            return True
        return found is not None and found["metadata"]["uid"] == running.uid

    def _cancel(self) -> None:
        running = self._running
        if running and not running.uid:
            # It was told so while it was at making one.
            with suppress(ClusterError):
                found = self.cluster.find(self.kind, running.name)
                if found and self._is_ours(found):
                    running = _Running(running.name, found["metadata"]["uid"])
        if running and running.uid:
            report(f"train: told to end; deletes {self.kind.title} {running.name}")
            self._delete(running, _CANCEL_SECONDS)
