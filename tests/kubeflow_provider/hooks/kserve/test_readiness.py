"""KServe's status lies in known ways; none of them makes a version ready or hopeless that is not."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubeflow_provider.hooks._kserve.observation import Observation
from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks._kserve.readiness import Verdict, judge
from kubeflow_provider.hooks._kserve.releases.proof import answers, prove
from kubeflow_provider.hooks._kserve.releases.specs import inference_service
from kubeflow_provider.services import Answer
from kubeflow_provider.states import DeploymentState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OLD, NEW = "reviews-predictor-00001", "reviews-predictor-00002"
VERSION = "20260102000000"

Object = dict[str, Any]


def stamp(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat()


def service(mode: str = "Knative", *, since: float = 10, percent: int | None = None, **status: Any) -> Object:
    """Return a service whose version came so many seconds ago and replaced the first revision."""
    annotations = {"kubeflow-provider/since": stamp(since), "kubeflow-provider/replaces-revision": OLD}
    spec: Object = {"labels": {"kubeflow-provider/version": VERSION}, "annotations": annotations, "minReplicas": 1}
    if percent is not None:
        spec["canaryTrafficPercent"] = percent
    made = inference_service("reviews", "models", spec, annotations={})
    made["metadata"]["uid"] = "service"
    conditions = [{"type": "Ready", "status": "True"}, {"type": "IngressReady", "status": "True"}]
    made["status"] = {"deploymentMode": mode, "conditions": conditions, **status}
    return made


def component(created: str = NEW, ready: str = NEW, rolled_out: str = NEW, **shares: int) -> Object:
    """Return the predictor's status; shares are by ``old`` and ``new``."""
    names = {"old": OLD, "new": NEW}
    traffic = [{"revisionName": names[key], "percent": share} for key, share in (shares or {"new": 100}).items()]
    revisions = {"latestCreatedRevision": created, "latestReadyRevision": ready, "latestRolledoutRevision": rolled_out}
    return {"predictor": {**revisions, "traffic": traffic}}


def pod(*, ready: bool = True, revision: str = NEW, version: str = VERSION, age: float = 5, **container: Any) -> Object:
    status = {"name": "kserve-container", "state": {"running": {}}, "restartCount": 0, **container}
    labels = {"kubeflow-provider/version": version, "serving.knative.dev/revision": revision}
    return {
        "metadata": {"name": "pod", "uid": "pod", "labels": labels, "creationTimestamp": stamp(age)},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": stamp(age)}],
            "containerStatuses": [status],
        },
    }


def deployment(*, version: str = VERSION, **status: int) -> Object:
    counts = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, **status}
    template = {"metadata": {"labels": {"kubeflow-provider/version": version}}}
    return {"metadata": {"generation": 2}, "spec": {"replicas": 1, "template": template}, "status": counts}


def look(made: Object, *pods: Object, patience: Patience | None = None, **seen: Any) -> Verdict:
    return judge(Observation(service=made, pods=pods, now=NOW, **seen), patience or Patience())


CRASHING = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 1}
ENDED = {"lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}


# Ready


def test_a_revision_with_pods_and_traffic_is_ready() -> None:
    assert look(service(components=component()), pod()).state is DeploymentState.READY


def test_ready_of_the_revision_before_is_not_ready() -> None:
    made = service(components=component(created=OLD, ready=OLD, rolled_out=OLD, old=100))
    verdict = look(made, pod(revision=OLD, version="20260101000000"))
    assert (verdict.state, verdict.reason) == (DeploymentState.PENDING, "its revision has not been made yet")


def test_ready_while_the_new_revision_is_still_starting_is_not_ready() -> None:
    made = service(components=component(ready=OLD, rolled_out=OLD, old=100))
    assert look(made, pod(ready=False)).reason == f"revision {NEW} is not ready yet"


def test_traffic_that_the_controller_has_not_moved_yet_is_waited_for() -> None:
    split = service(percent=10, components=component(rolled_out=OLD, old=100))
    assert look(split, pod()).reason == f"revision {NEW} has 0 % of the traffic, not 10 % yet"
    moved = service(percent=10, components=component(rolled_out=OLD, old=90, new=10))
    assert look(moved, pod()).state is DeploymentState.READY


def test_unknown_while_the_traffic_is_split_does_not_matter() -> None:
    made = service(percent=10, components=component(rolled_out=OLD, old=90, new=10))
    made["status"]["conditions"][0]["status"] = "Unknown"
    assert look(made, pod()).state is DeploymentState.READY


def test_ready_without_a_ready_pod_is_not_ready() -> None:
    made = service(components=component())
    assert look(made, pod(ready=False)).reason == "none of its 1 pod(s) is ready"
    assert look(made).reason == "none of its 0 pod(s) is ready"
    made["spec"]["predictor"]["minReplicas"] = 0
    assert look(made).state is DeploymentState.READY, "it sleeps"


def test_pods_of_its_earlier_revision_do_not_make_a_version_ready_that_was_put_back() -> None:
    assert look(service(components=component()), pod(revision=OLD)).state is DeploymentState.PENDING


def test_a_rolling_update_is_ready_when_no_old_pod_is_left() -> None:
    made = service("RawDeployment")
    ready = deployment()
    assert look(made, pod(), deployments=[ready]).state is DeploymentState.READY
    for status, reason in (
        ({"observedGeneration": 1}, "its Deployment has not been looked at yet"),
        ({"replicas": 2, "availableReplicas": 2}, "1 of 1 pod(s) are of this version, 2 run in all, 2 are available"),
        ({"updatedReplicas": 0}, "0 of 1 pod(s) are of this version, 1 run in all, 1 are available"),
    ):
        assert look(made, pod(), deployments=[deployment(**status)]).reason == reason
    before = deployment(version="20260101000000")
    assert look(made, pod(), deployments=[before]).reason == "its Deployment has not been changed yet"


def test_an_address_that_is_not_there_yet_is_waited_for() -> None:
    made = service("Standard")
    made["status"]["conditions"] = [
        {"type": "Ready", "status": "False"},
        {"type": "IngressReady", "status": "False", "reason": "HTTPRouteNotReady"},
    ]
    assert look(made, pod(), deployments=[deployment()]).reason == "its address is not ready: HTTPRouteNotReady"


# Hopeless or not


@pytest.mark.parametrize(
    ("container", "age", "state"),
    [
        ({**CRASHING, **ENDED}, 5, DeploymentState.PENDING),
        ({**CRASHING, **ENDED, "restartCount": 2}, 5, DeploymentState.FAILED),
        ({**CRASHING, **ENDED}, 100, DeploymentState.FAILED),
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}}, 5, DeploymentState.PENDING),
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}}, 100, DeploymentState.FAILED),
        ({"state": {"waiting": {"reason": "InvalidImageName"}}}, 5, DeploymentState.FAILED),
        ({"state": {"waiting": {"reason": "CreateContainerConfigError"}}}, 5, DeploymentState.FAILED),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, 500, DeploymentState.PENDING),
    ],
)
def test_a_container_is_given_up_when_it_will_not_heal(container: Object, age: float, state: DeploymentState) -> None:
    made = service(since=age, components=component(ready=OLD, old=100))
    assert look(made, pod(ready=False, age=age, **container)).state is state


def ended(code: int, reason: str = "Error", *, ran: float = 10, restarts: int = 9) -> Object:
    """Return a container that ended so, again and again, after it had run for some seconds."""
    end = {"exitCode": code, "reason": reason, "startedAt": stamp(ran), "finishedAt": stamp(0)}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    return {"state": waiting, "lastState": {"terminated": end}, "restartCount": restarts}


def of_pod(reason: str, message: str) -> list[Object]:
    return [{"reason": reason, "message": message, "involvedObject": {"uid": "pod"}}]


DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
BACK_OFF = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}

#: Container, status of its pod, events -> whether it is the candidate's own fault, and what people read.
FAULTS: dict[str, tuple[Object, Object, list[Object], bool, str]] = {
    "out of memory": (ended(137, "OOMKilled"), {}, [], True, "ran out of memory"),
    "a crash": (ended(1), {}, [], True, "ended with exit code 1"),
    "a probe that fails": (
        ended(137), {}, of_pod("Killing", "Container x failed liveness probe, will be restarted"), True,
        "does not answer .exit code 137.: Container x failed liveness probe",
    ),
    "137 that is not memory": (ended(137), {}, [], False, "from outside .exit code 137, not for its memory"),
    "told to stop": (ended(143), {}, of_pod("Killing", "Stopping container x"), False, "from outside .exit code 143"),
    "lost with its node": (ended(137, "ContainerStatusUnknown"), {}, [], False, "was lost with its node"),
    "a crash after days": (ended(1, ran=90_000), {}, [], False, "ended with exit code 1"),
    "an eviction": (
        ended(137), {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}, [],
        False, "was evicted from its node .Evicted: The node was low on resource",
    ),
    "a drain": (ended(143), {"conditions": [DISRUPTED]}, [], False, "taken away .EvictionByEvictionAPI: drained"),
    "preemption": (ended(137), {"phase": "Failed", "reason": "Preempting"}, [], False, "a more important pod"),
    "a node that goes down": (ended(137), {"phase": "Failed", "reason": "Terminated"}, [], False, "with its node"),
    "a node without room": (ended(1), {"phase": "Failed", "reason": "OutOfcpu"}, [], False, "was taken away .OutOfcpu"),
    "no such image": (BACK_OFF, {}, of_pod("Failed", "manifest unknown"), True, "cannot be pulled"),
    "a registry that is away": (
        BACK_OFF, {}, of_pod("Failed", "dial tcp: i/o timeout"), False, "cannot be pulled",
    ),
    "a registry that has had enough": (
        BACK_OFF, {}, of_pod("Failed", "toomanyrequests: pull rate limit"), False, "cannot be pulled",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["Knative", "Standard"])
@pytest.mark.parametrize("case", FAULTS)
def test_only_its_own_faults_are_held_against_a_version(mode: str, case: str) -> None:
    container, status, events, is_own, words = FAULTS[case]
    made = service(mode, since=5000, components=component(ready=OLD, old=100))
    made["status"]["conditions"].append(
        {"type": "PredictorReady", "status": "False", "reason": "MinimumReplicasUnavailable"}
    )
    failed = pod(ready=False, age=5000, **container)
    failed["status"] |= status
    verdict = look(made, failed, events=events, deployments=[deployment(availableReplicas=0)])

    assert verdict.state is (DeploymentState.FAILED if is_own else DeploymentState.PENDING)
    assert re.search(words, verdict.reason or ""), verdict.reason


@pytest.mark.parametrize("reason", ["MinimumReplicasUnavailable", "ProgressDeadlineExceeded"])
def test_pods_that_are_on_their_way_are_waited_for_until_kubernetes_gives_up(reason: str) -> None:
    made = service("Standard", since=5000)
    made["status"]["conditions"].append({"type": "PredictorReady", "status": "False", "reason": reason})
    starting = pod(ready=False, state={"waiting": {"reason": "ContainerCreating"}})
    verdict = look(made, starting, deployments=[deployment(availableReplicas=0)])

    gave_up = reason == "ProgressDeadlineExceeded"
    assert verdict.state is (DeploymentState.FAILED if gave_up else DeploymentState.PENDING)


def test_what_is_over_is_not_held_against_a_version() -> None:
    made = service("Standard", since=5000)
    quota = {
        "reason": "FailedCreate", "message": "exceeded quota", "lastTimestamp": stamp(4000),
        "involvedObject": {"kind": "ReplicaSet", "name": "reviews-predictor-1"},
    }  # fmt: skip
    stumbled: Object = {"reason": "InternalError", "type": "Warning", "message": "conflict"}
    stumbled |= {"lastTimestamp": stamp(4000), "involvedObject": {"uid": "service"}}
    starting = pod(ready=False, state={"waiting": {"reason": "ContainerCreating"}})
    seen: Object = {"deployments": [deployment(availableReplicas=0)]}
    assert look(made, starting, events=[quota, stumbled], **seen).state is DeploymentState.PENDING

    assert look(made, events=[quota], **seen).state is DeploymentState.FAILED, "no pod has come since"
    assert look(made, events=[stumbled | {"lastTimestamp": stamp(5)}], **seen).state is DeploymentState.FAILED


def test_a_node_is_waited_for_longer_than_anything_else() -> None:
    waiting = pod(ready=False, age=300)
    waiting["status"]["conditions"].append(
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available."}
    )
    made = service(since=300, components=component(ready=OLD, old=100))
    made["status"]["conditions"].append(
        {"type": "LatestDeploymentReady", "status": "False", "reason": "RevisionFailed", "lastTransitionTime": stamp(9)}
    )
    assert look(made, waiting).state is DeploymentState.PENDING
    assert look(made, waiting, patience=Patience(unschedulable_seconds=200)).state is DeploymentState.FAILED


def test_a_failure_that_kserve_still_remembers_is_no_failure() -> None:
    failure: Object = {"reason": "ModelLoadFailed", "message": "no file", "exitCode": 1}
    remembered = {"transitionStatus": "InProgress", "lastFailureInfo": failure}
    made = service(since=500, components=component(ready=OLD, old=100), modelStatus=remembered)
    assert look(made, pod(ready=False)).state is DeploymentState.PENDING
    made["status"]["modelStatus"] = {**remembered, "transitionStatus": "BlockedByFailedLoad"}
    assert look(made).reason == "The model cannot be loaded (ModelLoadFailed): no file"
    assert look(made).state is DeploymentState.FAILED
    failure["exitCode"] = 137
    assert look(made).state is DeploymentState.PENDING, "by whom it was ended only its pods tell"


def test_kserve_s_word_of_a_failed_load_does_not_come_before_the_pod_s_own() -> None:
    failure = {"reason": "ModelLoadFailed", "message": "Loading model version 2"}
    status = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}
    made = service(since=91, components=component(ready=OLD, old=100), modelStatus=status)
    killed = {"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}

    # The pod came later than the version, and its patience ends later.
    assert look(made, pod(ready=False, age=89, **CRASHING, **killed)).state is DeploymentState.PENDING
    verdict = look(made, pod(ready=False, age=91, **CRASHING, **killed))
    assert verdict.state is DeploymentState.FAILED
    assert "ran out of memory" in (verdict.reason or "")


def test_what_was_said_about_the_version_before_is_not_held_against_this_one() -> None:
    made = service(since=10, components=component(ready=OLD, old=100))
    made["status"]["conditions"].append(
        {
            "type": "LatestDeploymentReady",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "lastTransitionTime": stamp(500),
        }
    )
    said = {"type": "Warning", "reason": "ServerlessModeRejected", "message": "no Knative", "lastTimestamp": stamp(500)}
    said["involvedObject"] = {"uid": "service"}  # type: ignore[assignment]
    assert look(made, events=[said]).state is DeploymentState.PENDING
    now = {**said, "lastTimestamp": stamp(5)}
    assert look(made, events=[now]).reason == "KServe says (ServerlessModeRejected): no Knative"


def test_a_mount_that_failed_is_told_and_waited_for_unless_the_thing_is_missing() -> None:
    made = service("Standard")
    waiting = pod(ready=False, state={"waiting": {"reason": "ContainerCreating"}})
    event = {"reason": "FailedMount", "message": "timed out waiting", "involvedObject": {"uid": "pod"}}
    verdict = look(made, waiting, events=[event], deployments=[deployment(updatedReplicas=0)])
    assert (verdict.state, verdict.reason) == (
        DeploymentState.PENDING,
        "Pod pod cannot mount a volume (FailedMount): timed out waiting",
    )
    missing = {**event, "message": 'secret "keys" not found'}
    verdict = look(made, waiting, events=[missing], deployments=[deployment(updatedReplicas=0)])
    assert verdict.state is DeploymentState.FAILED


# The proof


def proof(answer: Answer, *, ready_for: float) -> Verdict:
    made = service(since=1000, components=component())
    seen = Observation(service=made, pods=[pod(age=ready_for)], now=NOW)
    return prove(seen, Patience(route_seconds=60), lambda body: answer)


def answered(status: int, body: Any = "") -> Answer:
    return Answer(status_code=status, body=body, latency_ms=1.0)


GOOD = {"predictions": [{"version": VERSION}]}
STALE = {"predictions": [{"version": "20260101000000"}]}


@pytest.mark.parametrize("answer", [answered(404), answered(503, "no healthy upstream"), answered(200, STALE)])
def test_a_route_that_is_still_being_made_is_waited_for_and_not_for_ever(answer: Answer) -> None:
    assert proof(answer, ready_for=10).state is DeploymentState.PENDING
    assert proof(answer, ready_for=100).state is DeploymentState.FAILED


def test_a_version_that_sleeps_is_woken_however_long_that_takes() -> None:
    made = service(since=10**6, components=component())
    made["spec"]["predictor"]["minReplicas"] = 0
    made["status"]["conditions"][0]["lastTransitionTime"] = stamp(10**6)
    verdict = prove(Observation(service=made, now=NOW), Patience(), lambda body: answered(503))
    assert verdict.state is DeploymentState.PENDING
    assert "has scaled to zero and is woken" in (verdict.reason or "")


@pytest.mark.parametrize(
    ("versions", "answer", "expected"),
    [
        ([VERSION], answered(200, GOOD), True),
        ([VERSION], answered(503), False),
        ([VERSION, "20260101000000"], answered(200, GOOD), False),
        ([], answered(200, GOOD), True),
    ],
)
def test_a_version_answers_when_nobody_else_can(versions: list[str], answer: Answer, expected: bool) -> None:
    seen = Observation(service=service(), pods=[pod(version=version) for version in versions], now=NOW)
    assert answers(seen, lambda body: answer) is expected


@pytest.mark.parametrize(
    "answer", [answered(200, GOOD), answered(200, {"predictions": ["other runtime"]}), answered(404, {"code": 404})]
)
def test_whether_an_answer_is_good_is_for_the_smoke_test_to_say(answer: Answer) -> None:
    assert proof(answer, ready_for=10).state is DeploymentState.READY


def test_judging_changes_nothing() -> None:
    made = service(components=component())
    before = copy.deepcopy(made)
    look(made, pod())
    assert made == before
