"""Who has answered, where no server says it: the pods that can have, and nobody where they are of two versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.hooks._kserve.releases import answering
from kubeflow_provider.hooks._kserve.releases.answering import Answering
from kubeflow_provider.services import Answer

OLD, NEW = "20260101000000", "20260202000000"
ANSWER = Answer(status_code=200, body={"predictions": [0]}, latency_ms=1)


@pytest.fixture(autouse=True)
def _waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_PAUSE_SECONDS", 0)


def pod(version: str, *, revision: str = "", told_seconds_ago: float | None = None, **status: Any) -> dict[str, Any]:
    """Return a pod, one that was told to end with a grace of half a minute where it was."""
    metadata: dict[str, Any] = {
        "labels": {"kubeflow-provider/version": version, "serving.knative.dev/revision": revision}
    }
    if told_seconds_ago is not None:
        gone = datetime.now(UTC) + timedelta(seconds=30 - told_seconds_ago)
        metadata |= {"deletionTimestamp": gone.isoformat(), "deletionGracePeriodSeconds": 30}
    return {"metadata": metadata, "status": {"phase": "Running", **status}}


def service(mode: str = "Standard", *, is_given: bool = True, is_routed: bool = True, **routes: int) -> dict[str, Any]:
    traffic = [{"revisionName": name, "percent": percent} for name, percent in routes.items()]
    predictor = {
        "labels": {"kubeflow-provider/version": NEW},
        "annotations": {"kubeflow-provider/protocol": "v1"} if is_given else {},
    }
    route = {"type": "PredictorRouteReady", "status": "True" if is_routed else "Unknown"}
    return {
        "metadata": {"name": "iris"},
        "spec": {"predictor": predictor},
        "status": {
            "deploymentMode": mode,
            "conditions": [route],
            "components": {"predictor": {"traffic": traffic}},
        },
    }


def answered(looks: Sequence[Sequence[dict[str, Any]]], *, seen: dict[str, Any], answer: Answer = ANSWER) -> Answer:
    """Ask; each look at the pods finds the next of these, the last of them for good."""
    left = list(looks)
    api: Any = SimpleNamespace(
        get_service=lambda name: seen, pods=lambda name: left.pop(0) if len(left) > 1 else left[0]
    )
    doors: Any = SimpleNamespace(predict=lambda *asked, **how: answer)
    return Answering(api, doors).predict("iris", seen, b"", timeout_seconds=1)


def test_pods_of_one_version_tell() -> None:
    assert answered([[pod(NEW), pod(NEW)]], seen=service()).version == NEW


def test_it_asks_again_until_pods_of_another_version_are_gone() -> None:
    looks = [[pod(OLD), pod(NEW)], [pod(NEW)], [pod(NEW)], [pod(NEW)]]
    assert answered(looks, seen=service()).version == NEW


def test_nobody_is_named_where_either_may_have_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_SETTLES_SECONDS", 0)
    assert answered([[pod(OLD), pod(NEW)]], seen=service()).version is None
    assert answered([[pod(OLD)], [pod(NEW)]], seen=service()).version is None
    assert answered([[pod(OLD, told_seconds_ago=1), pod(NEW)]], seen=service()).version is None
    assert answered([[pod("")]], seen=service()).version is None, "somebody else's pod"


@pytest.mark.parametrize("other", [pod(OLD, told_seconds_ago=10), pod(OLD, phase="Failed")])
def test_a_pod_that_gets_no_requests_any_more_says_nothing(other: dict[str, Any]) -> None:
    assert answered([[other, pod(NEW)]], seen=service()).version == NEW


def test_of_revisions_those_count_that_have_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [pod(OLD, revision="r1"), pod(NEW, revision="r2")]
    assert answered([pods], seen=service("Knative", r1=0, r2=100)).version == NEW
    # What is asleep is woken by the question.
    assert answered([[], pods], seen=service("Knative", r2=100)).version == NEW
    monkeypatch.setattr(answering, "_SETTLES_SECONDS", 0)
    assert answered([pods], seen=service("Knative", is_routed=False, r2=100)).version is None


def test_what_is_no_answer_of_a_model_is_asked_once() -> None:
    refused = Answer(status_code=500, body={"error": "no"}, latency_ms=1, version="1")
    assert answered([[pod(OLD), pod(NEW)]], seen=service(), answer=refused).version is None


def test_archives_of_ours_say_it_themselves_and_no_pod_is_looked_at() -> None:
    assert answered([], seen=service(is_given=False)) is ANSWER
