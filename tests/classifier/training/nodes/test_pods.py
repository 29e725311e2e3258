"""Why a node has ended, or does not begin: as pods of a real cluster have said it, and others."""

from __future__ import annotations

from typing import Any

import pytest

from include.classifier.training.nodes import pods
from include.classifier.training.nodes.pytorchjob import PyTorchJob
from include.classifier.training.nodes.trainjob import TrainJob
from tests.captured import trainings

KIND = TrainJob("runtimePatches", frozenset(), frozenset(), has_deadline=True)


def look(version: str, case: str, *stages: str) -> pods.Watched:
    watched = pods.Watched(KIND, lambda: 0.0)
    for stage in trainings(version)[case]:
        if not stages or stage["stage"] in stages:
            watched.look(stage["pods"])
    return watched


@pytest.mark.parametrize("version", ["2.1.0", "2.3.0"])
def test_a_real_node_that_ended_says_with_what(version: str) -> None:
    watched = look(version, "rank1_exit3")

    assert watched.failure is not None
    assert watched.failure.words == "node 1 ended with exit code 3: boom in rank 1"
    assert watched.failure.may_pass


@pytest.mark.parametrize("version", ["2.1.0", "2.3.0"])
def test_a_real_image_that_cannot_be_pulled_is_waited_for(version: str) -> None:
    watched = look(version, "nopull")

    assert watched.failure is None
    assert watched.waits is not None
    assert watched.waits.words.startswith(("node 0 waits (ErrImagePull: ", "node 0 waits (ImagePullBackOff: "))
    assert not watched.waits.may_pass


@pytest.mark.parametrize("version", ["2.1.0", "2.3.0"])
def test_a_real_cluster_without_room_is_waited_for(version: str) -> None:
    watched = look(version, "toobig")

    assert watched.waits is not None
    assert watched.waits.words.startswith(
        "node 0 waits for room (Unschedulable: 0/1 nodes are available: 1 Insufficient"
    )
    assert watched.waits.may_pass
    assert not watched.is_stuck


def test_a_real_container_that_restarts_alone_has_ended() -> None:
    watched = look("2.3.0", "rankfail_default_onfailure")

    assert watched.failure is not None
    assert "node 1 ended with exit code" in watched.failure.words


def test_what_was_seen_is_kept_when_the_pods_are_gone() -> None:
    watched = look("2.3.0", "rankfail", "second_try_rank_failed")
    words = watched.failure
    watched.look([])

    assert watched.failure == words
    assert words is not None
    assert words.words.startswith("node 1 ended with exit code 1: ")


@pytest.mark.parametrize("case", ["succeeded", "runtime_patches"])
def test_real_nodes_that_end_well_have_no_reason(case: str) -> None:
    watched = look("2.3.0", case)

    assert (watched.failure, watched.waits) == (None, None)


def pod(rank: int, *, container: str = "node", **status: Any) -> dict[str, Any]:
    labels = {"batch.kubernetes.io/job-completion-index": str(rank)}
    if "state" in status or "last" in status:
        state = {"name": container, "state": status.pop("state", {}), "lastState": status.pop("last", {})}
        status["containerStatuses"] = [state]
    return {"metadata": {"name": f"p-{rank}", "labels": labels}, "status": status}


def ended(code: int, at: str, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "finishedAt": at, "reason": reason, "message": message}}


def reason(*found: dict[str, Any]) -> pods.Reason:
    watched = pods.Watched(KIND, lambda: 0.0)
    watched.look(found)
    assert watched.failure is not None
    return watched.failure


def test_the_first_that_ended_is_the_reason_and_the_others_are_consequences() -> None:
    first = pod(1, state=ended(1, "2026-11-28T16:43:01Z", message="Traceback\n\nOSError: the disk is full\n"))
    then = pod(0, state=ended(1, "2026-11-28T16:43:02Z", message="Connection closed by peer"))

    assert reason(then, first).words == "node 1 ended with exit code 1: OSError: the disk is full"


def test_one_that_was_told_to_end_is_no_reason_whenever_it_ended() -> None:
    at = "2026-11-28T16:43:01Z"
    told, going = pod(0, state=ended(143, at)), pod(2, state=ended(1, at))
    going["metadata"]["deletionTimestamp"] = at
    first = pod(3, state=ended(1, "2026-11-28T16:43:02Z", message="boom"))

    assert reason(told, going, first).words == "node 3 ended with exit code 1: boom"
    assert reason(told).words == "node 0 was told to end"


@pytest.mark.parametrize(
    ("found", "words", "may_pass"),
    [
        (pod(0, state=ended(137, "t", "OOMKilled")), "node 0 was killed because its memory ran out", False),
        (pod(0, last=ended(137, "t", "OOMKilled")), "node 0 was killed because its memory ran out", False),
        (pod(2, state=ended(137, "t")), "node 2 was killed from outside", True),
        (pod(1, phase="Failed", reason="Evicted", message="The node was low on memory"),
         "node 1 was lost (Evicted: The node was low on memory)", True),
        (pod(1, phase="Failed", conditions=[
            {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "gone"}]),
         "node 1 was lost (DeletionByTaintManager: gone)", True),
        (pod(1, phase="Failed"), "node 1 was lost (no reason given)", True),
        (pod(1, state=ended(1, "t", message="a\x1b[31mred\x1b[0m\x07 word")),
         "node 1 ended with exit code 1: ared word", True),
    ],
)  # fmt: skip
def test_each_end_is_said_in_words(found: dict[str, Any], words: str, may_pass: bool) -> None:
    assert reason(found).words.startswith(words)
    assert reason(found).may_pass == may_pass


def test_long_words_are_cut() -> None:
    assert len(reason(pod(0, state=ended(1, "t", message="x" * 4000))).words) < 600


def test_a_sidecar_that_ends_is_nobodys_reason() -> None:
    watched = pods.Watched(KIND, lambda: 0.0)
    watched.look([pod(0, container="istio-proxy", state=ended(1, "t"))])

    assert watched.failure is None


def test_what_does_not_come_is_waited_for_ten_minutes_and_forgotten_when_it_comes() -> None:
    now = [0.0]
    watched = pods.Watched(KIND, lambda: now[0])
    stuck = pod(0, state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s3" not found'}})
    for now[0], found, is_stuck in (
        (0, stuck, False),
        (599, stuck, False),
        (600, stuck, True),
        (601, pod(0, state={"running": {}}), False),
        (1300, stuck, False),
    ):
        watched.look([found])
        assert watched.is_stuck == is_stuck
    assert watched.waits is not None
    assert watched.waits.words == 'node 0 waits (CreateContainerConfigError: secret "s3" not found)'


def test_the_master_of_a_pytorchjob_is_the_first_node() -> None:
    def labelled(kind: str, index: str) -> dict[str, Any]:
        names = {"replica-type": kind, "replica-index": index}
        return {"metadata": {"labels": {f"training.kubeflow.org/{name}": value for name, value in names.items()}}}

    kind = PyTorchJob()
    assert [kind.rank(labelled(*each)) for each in (("master", "0"), ("worker", "0"), ("worker", "4"))] == [0, 1, 5]
    assert kind.rank(labelled("worker", "odd")) == 1
