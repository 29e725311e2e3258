"""The double of Trainer answers as a real one has; the training itself is tested against it elsewhere.

``TRAINER_KUBECONFIG`` lets the first of these run on a real cluster: in its namespace ``TRAINER_NAMESPACE``, with an
image that has a ``sh`` (``TRAINER_IMAGE``). They need the right to make TrainingRuntimes besides.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from kubernetes.client import ApiException, CoreV1Api, CustomObjectsApi  # noqa: TID253

from tests.captured import captured, trainings
from tests.capturing.shapes import differences
from tests.doubles.kubernetes import Cluster, Image, Lags, cluster, double_or_real
from tests.doubles.kubernetes.resources import JOBS, SERVICES
from tests.doubles.trainer import Trainer
from tests.doubles.trainer.definitions import JOBSETS, TRAINJOBS
from tests.rights import documents
from tests.waiting import wait_for

IMAGE = os.environ.get("TRAINER_IMAGE", "training:1")
GROUP = ("trainer.kubeflow.org", "v1alpha1")
QUICK = Lags(schedule_seconds=0, pull_seconds=0, reconcile_seconds=0)
VERSIONS = ("2.1.0", "2.3.0")

Made = Callable[..., "TrainJob"]


class TrainJob:
    """One that a test has made."""

    def __init__(self, k8s: Any, name: str) -> None:
        self._k8s = k8s
        self.name = name
        self.api = CustomObjectsApi(k8s.api_client())

    def read(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.api.get_namespaced_custom_object(*self._place, self.name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def status(self) -> dict[str, Any]:
        return (self.read() or {}).get("status") or {}

    def is_true(self, condition: str) -> bool:
        found = self.status().get("conditions") or []
        return any((each["type"], each["status"]) == (condition, "True") for each in found)

    def counts(self) -> dict[str, int]:
        """Return what is not nought of what it counts."""
        (counted,) = self.status().get("jobsStatus") or [{}]
        return {name: number for name, number in counted.items() if name != "name" and number}

    def pods(self) -> list[Any]:
        label = f"jobset.sigs.k8s.io/jobset-name={self.name}"
        return list(
            CoreV1Api(self._k8s.api_client()).list_namespaced_pod(self._k8s.namespace, label_selector=label).items
        )

    def change(self, **spec: Any) -> None:
        self.api.patch_namespaced_custom_object(*self._place, self.name, {"spec": spec})

    def delete(self, **options: Any) -> None:
        self.api.delete_namespaced_custom_object(*self._place, self.name, body=options)

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return (*GROUP, self._k8s.namespace, "trainjobs")


@pytest.fixture
def k8s() -> Iterator[Any]:
    settings = {"images": {IMAGE: Image("/bin")}, "namespace": "team", "speed": 2, "lags": QUICK}
    with double_or_real("TRAINER", **settings) as k8s:
        if k8s.is_double:
            Trainer(k8s)
        (runtime,) = documents("training-runtime.yaml")
        runtime["metadata"]["namespace"] = k8s.namespace
        with suppress(ApiException):
            CustomObjectsApi(k8s.api_client()).create_namespaced_custom_object(
                *GROUP, k8s.namespace, "trainingruntimes", runtime
            )
        yield k8s


@pytest.fixture
def make(k8s: Any) -> Iterator[Made]:
    """Return ``make(line, ...)``: a TrainJob of two nodes that run a line of shell."""
    made: list[TrainJob] = []

    def make(line: str, name: str = "", **spec: Any) -> TrainJob:
        job = TrainJob(k8s, name or f"t-{uuid4().hex[:6]}")
        made.append(job)
        body = {
            "apiVersion": "/".join(GROUP),
            "kind": "TrainJob",
            "metadata": {"name": job.name},
            "spec": {
                "runtimeRef": {"kind": "TrainingRuntime", "name": "release-training"},
                "trainer": {"image": IMAGE, "command": ["sh", "-c", line], "numNodes": 2, "numProcPerNode": 1},
                **spec,
            },
        }
        job.api.create_namespaced_custom_object(*GROUP, k8s.namespace, "trainjobs", body)
        return job

    yield make
    for job in made:
        with suppress(ApiException):
            job.delete()


def test_one_that_ends_well_says_what_a_real_one_said(make: Made) -> None:
    job = make("echo $PET_NODE_RANK of $PET_NNODES")
    wait_for(lambda: job.is_true("Complete"), "the end")

    last = trainings("2.3.0")["succeeded"][-1]
    assert differences(last["trainjob"]["status"], job.status()) == []
    assert job.counts() == {"succeeded": 1}
    assert sorted(pod.status.phase for pod in job.pods()) == ["Succeeded", "Succeeded"]


def test_pods_are_called_labelled_and_told_as_real_ones_were(k8s: Any, make: Made) -> None:
    job = make("sleep 600")
    wait_for(lambda: job.counts().get("ready"), "both nodes")

    for rank, pod in enumerate(sorted(job.pods(), key=lambda each: each.metadata.name)):
        assert re.fullmatch(rf"{job.name}-node-0-{rank}-[a-z0-9]{{5}}", pod.metadata.name)
        assert pod.metadata.labels["batch.kubernetes.io/job-completion-index"] == str(rank)
        assert pod.metadata.labels["jobset.sigs.k8s.io/restart-attempt"] == "0"
        assert pod.metadata.owner_references[0].kind == "Job"
        assert not [label for label in pod.metadata.labels if label.startswith("trainer.kubeflow.org")]
        (node,) = pod.spec.containers
        told = {each.name: each.value for each in node.env}
        assert told["PET_NNODES"] == "2"
        assert told["PET_NPROC_PER_NODE"] == "1"
        assert told["PET_MASTER_ADDR"] == f"{job.name}-node-0-0.{job.name}"
        assert told["PET_MASTER_PORT"] == "29500"
        assert (node.termination_message_policy, pod.spec.restart_policy) == ("FallbackToLogsOnError", "Never")
    assert job.status().get("conditions", []) == []  # there is no Running
    assert job.counts() == {"active": 1, "ready": 1}


def test_one_whose_second_node_fails_says_nothing_of_why_and_deletes_the_first(make: Made) -> None:
    job = make('[ "$PET_NODE_RANK" = 1 ] && { echo boom in rank 1; exit 3; }; exec sleep 600')
    wait_for(lambda: job.is_true("Failed"), "the end")

    captured_last = trainings("2.3.0")["rank1_exit3"][-1]
    assert differences(captured_last["trainjob"]["status"], job.status()) == []
    (condition,) = job.status()["conditions"]
    assert condition["reason"] == "FailedJobs"
    assert condition["message"] == (
        f"jobset failed due to one or more job failures (first failed job: {job.name}-node-0)"
    )
    (pod,) = job.pods()
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason, ended.message.strip()) == (3, "Error", "boom in rank 1")


def test_one_that_waits_for_a_node_looks_like_one_that_trains(make: Made) -> None:
    job = make("true", trainer={"image": "registry.example.com/absent:9", "numNodes": 2, "numProcPerNode": 1})
    wait_for(lambda: len(job.pods()) == 2, "the pods")

    assert job.counts() == {"active": 1}
    assert job.status().get("conditions", []) == []


def test_a_suspended_one_has_no_pods_and_keeps_its_condition_when_it_goes_on(make: Made) -> None:
    job = make("true", suspend=True)
    wait_for(lambda: job.is_true("Suspended"), "that it waits")
    assert job.pods() == []
    assert job.counts() == {"suspended": 1}
    job.change(suspend=False)
    wait_for(lambda: job.is_true("Complete"), "the end")

    said = [(each["type"], each["status"], each["reason"]) for each in job.status()["conditions"]]
    assert said == [("Suspended", "False", "Resumed"), ("Complete", "True", "AllJobsCompleted")]


def test_one_that_is_deleted_in_the_foreground_is_there_until_its_pods_are_gone(make: Made) -> None:
    job = make("trap 'sleep 5; exit 0' TERM; while true; do sleep 0.1; done")
    wait_for(lambda: job.counts().get("ready"), "both nodes")
    found = job.read()
    assert found is not None
    with pytest.raises(ApiException) as refused:
        job.delete(preconditions={"uid": str(uuid4())})
    assert refused.value.status == 409
    job.delete(propagationPolicy="Foreground", preconditions={"uid": found["metadata"]["uid"]})

    going = job.read()
    assert going is not None
    assert "foregroundDeletion" in going["metadata"]["finalizers"]
    assert going["metadata"]["deletionTimestamp"]
    wait_for(lambda: job.read() is None, "that it is gone")
    assert job.pods() == []


def test_one_that_is_deleted_otherwise_is_gone_before_its_pods_are(make: Made) -> None:
    job = make("trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done")
    wait_for(lambda: job.counts().get("ready"), "both nodes")
    job.delete()

    assert job.read() is None
    wait_for(lambda: job.pods() == [], "that its pods are gone")


def test_a_name_that_is_too_long_for_the_pods_is_taken_and_nothing_happens(k8s: Any, make: Made) -> None:
    job = make("true", name="t" + "x" * 51)

    def events() -> list[str]:
        found = CoreV1Api(k8s.api_client()).list_namespaced_event(
            k8s.namespace, field_selector=f"involvedObject.name={job.name}"
        )
        return [each.message for each in found.items]

    wait_for(lambda: any("will exceed 63 characters" in message for message in events()), "the event")
    assert job.status() == {}
    assert job.pods() == []


# What only a double can be asked for


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def double(version: str) -> Iterator[tuple[Cluster, Trainer]]:
    with cluster(images={IMAGE: Image("/bin")}, namespace="team", speed=20, lags=QUICK) as k8s:
        trainer = Trainer(k8s, version=version)
        trainer.add_runtime("torch-cpu")
        yield k8s, trainer


def put(k8s: Cluster, name: str, runtime: str, line: str, **spec: Any) -> TrainJob:
    """Make a TrainJob of one node behind the API's back."""
    trainer = {"image": IMAGE, "command": ["sh", "-c", line], "numNodes": 1, "numProcPerNode": 1}
    spec = {"runtimeRef": {"kind": "TrainingRuntime", "name": runtime}, "trainer": trainer, **spec}
    k8s.store.create(TRAINJOBS, {"metadata": {"name": name}, "spec": spec}, "team")
    return TrainJob(k8s, name)


@pytest.mark.parametrize("what", sorted({each for version in VERSIONS for each in captured("trainer", version)}))
def test_a_request_is_answered_as_a_real_server_did(double: tuple[Cluster, Trainer], version: str, what: str) -> None:
    k8s, _ = double
    if (call := captured("trainer", version).get(what)) is None:
        pytest.skip("this version was not asked that")
    if what == "controller (webhook) down":
        pytest.skip("the double's webhooks are never down: faults.http answers so")
    k8s.store.create(TRAINJOBS, captured("trainer", version)["name taken"]["request"]["body"], "team")
    asked = call["request"]
    status, answer = request(k8s, asked["method"], asked["path"], asked.get("body"))

    assert status == call["status"]
    if status >= 400:
        assert times_left_out(answer) == times_left_out(call["answer"])
    else:
        assert answer["spec"].keys() == call["answer"]["spec"].keys()


def test_a_failed_one_runs_again_when_its_jobset_is_gone(double: tuple[Cluster, Trainer]) -> None:
    k8s, trainer = double
    trainer.add_runtime("never", restartPolicy="Never", job={"backoffLimit": 0})
    job = put(k8s, "again", "never", "exit 1")
    wait_for(lambda: job.is_true("Failed"), "the end", pause=0.01)
    before = k8s.store.get(JOBSETS, "team", "again")["metadata"]["uid"]
    k8s.store.delete(JOBSETS, "team", "again")

    def runs_again() -> bool:
        found = k8s.store.find(JOBSETS, "team", "again")
        return found is not None and found["metadata"]["uid"] != before

    wait_for(runs_again, "another JobSet", pause=0.01)


def test_restarts_count_and_nothing_is_left_of_the_first_try(double: tuple[Cluster, Trainer]) -> None:
    k8s, trainer = double
    trainer.add_runtime("twice", restartPolicy="Never", job={"backoffLimit": 0}, failure={"maxRestarts": 1})
    job = put(k8s, "twice", "twice", "exit 1")
    wait_for(lambda: job.is_true("Failed"), "the end", pause=0.01)

    assert job.status()["conditions"][0]["reason"] == "ReachedMaxRestarts"
    (pod,) = job.pods()
    assert pod.metadata.labels["jobset.sigs.k8s.io/restart-attempt"] == "1"


def test_by_default_a_container_restarts_alone_and_nothing_fails(double: tuple[Cluster, Trainer]) -> None:
    k8s, _ = double
    job = put(k8s, "alone", "torch-cpu", "exit 1")

    def restarts() -> int:
        found = [each for pod in job.pods() for each in pod.status.container_statuses or []]
        return sum(each.restart_count for each in found)

    wait_for(restarts, "a restart", pause=0.01)
    assert job.status().get("conditions", []) == []


def test_a_deadline_leaves_a_stale_count_and_no_pods() -> None:
    with cluster(images={IMAGE: Image("/bin")}, namespace="team", speed=20, lags=QUICK) as k8s:
        Trainer(k8s).add_runtime("never", restartPolicy="Never")
        job = put(k8s, "late", "never", "exec sleep 600", activeDeadlineSeconds=40)
        wait_for(lambda: job.is_true("Failed"), "the deadline", pause=0.01)

        assert job.status()["conditions"][-1]["reason"] == "DeadlineExceeded"
        assert job.counts()["active"] == 1
        wait_for(lambda: not k8s.store.entries(JOBS, "team") and not job.pods(), "that it is ended", pause=0.01)


def test_a_service_of_its_name_is_taken_for_its_own(double: tuple[Cluster, Trainer]) -> None:
    k8s, trainer = double
    k8s.store.create(SERVICES, {"metadata": {"name": "taken"}, "spec": {"selector": {"app": "other"}}}, "team")
    put(k8s, "taken", "torch-cpu", "exec sleep 600")
    wait_for(lambda: trainer.pods("taken"), "its pods", pause=0.01)

    assert k8s.store.get(SERVICES, "team", "taken")["spec"]["selector"] == {"app": "other"}


def request(k8s: Cluster, method: str, path: str, body: Any) -> tuple[int, Any]:
    """Send what was sent to the real server."""
    import httpx

    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    content = None if body is None else json.dumps(body)
    answer = httpx.request(method, k8s.url + path, content=content, headers={"Content-Type": kind})
    return answer.status_code, answer.json()


def times_left_out(answer: Any) -> Any:
    return json.loads(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "T", json.dumps(answer)))
