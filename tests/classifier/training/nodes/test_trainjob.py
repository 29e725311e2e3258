"""The job that is asked for: as each version of Trainer takes it, and made after the step's own pod."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from include.classifier.cluster.api import ClusterError
from include.classifier.training.nodes.kinds import TRAINING, digest, name_of
from include.classifier.training.nodes.pytorchjob import PyTorchJob
from include.classifier.training.nodes.trainjob import TrainJob
from tests.captured import trainings
from tests.classifier.training.nodes.support import NAME, STEP, wanted
from tests.doubles.kubernetes.discovery import describe
from tests.doubles.kubernetes.schemas import undeclared
from tests.doubles.trainer.definitions import definitions, spec_of_a_trainjob, version_of

VERSIONS = ("2.0.0", "2.1.0", "2.2.0", "2.3.0")


def described(version: str) -> TrainJob:
    document = describe("/openapi/v3/apis/trainer.kubeflow.org/v1alpha1", definitions(version))
    assert document is not None
    return TrainJob.described(document)


def of_pods(version: str, spec: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return metadata and specification that a TrainJob gives its pods."""
    if version == "2.0.0":
        (found,) = spec["podSpecOverrides"]
        return {}, found
    if version == "2.1.0":
        (found,) = spec["podTemplateOverrides"]
        return found["metadata"], found["spec"]
    (patch,) = spec["runtimePatches"]
    assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]+/[a-z]+", patch["manager"])
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert job["name"] == "node"
    template = job["template"]["spec"]["template"]
    return template["metadata"], template["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_is_sent_what_it_knows_and_nothing_else(version: str) -> None:
    spec = described(version).body(wanted())["spec"]

    assert undeclared(spec, spec_of_a_trainjob(version_of(version))) == []
    assert ("activeDeadlineSeconds" in spec) == (version_of(version) >= (2, 2))
    metadata, pod = of_pods(version, spec)
    (container,) = pod["containers"]
    assert container["name"] == "node"
    assert [each["name"] for each in container["volumeMounts"]] == ["store", "shared-memory"]
    assert [each["name"] for each in pod["volumes"]] == ["store", "shared-memory"]
    assert (pod["serviceAccountName"], pod["nodeSelector"]) == ("default", {"gpu": "yes"})
    if version != "2.0.0":
        assert metadata["labels"]["pipeline/runid"] == "r"
        assert metadata["labels"]["kubeflow-model-release/training-node"] == "true"
        assert metadata["annotations"] == {"sidecar.istio.io/inject": "false"}


@pytest.mark.parametrize(
    ("version", "left_out"),
    [
        ("2.0.0", ["securityContext", "securityContext of its container"]),
        ("2.1.0", ["securityContext", "securityContext of its container"]),
        ("2.2.0", []),
        ("2.3.0", []),
    ],
)
def test_what_a_version_cannot_be_given_is_told(version: str, left_out: list[str]) -> None:
    step = json.loads(json.dumps(STEP))
    assert described(version).left_out(wanted(pod=step)) == left_out

    step["spec"]["containers"][1]["envFrom"].append({"secretRef": {"name": "s3"}})
    step["spec"]["priorityClassName"] = "high"
    more = [*(["priorityClassName"]), "envFrom of its container"]
    assert set(described(version).left_out(wanted(pod=step))) == {*left_out, *more}


def test_a_trainjob_says_what_a_node_does() -> None:
    body = described("2.3.0").body(wanted())

    assert body["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": "release-training",
    }
    trainer = body["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"], trainer["image"]) == (2, 1, "training:1")
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    # The Trainer refuses variables of torchrun, and those of Argo and Kubeflow are the step's own.
    assert [each["name"] for each in trainer["env"]] == ["STORE_KEY", "TRAINING_TRACKING_URI"]
    assert body["metadata"]["annotations"] == {TRAINING: "0123456789abcdef"}
    assert body["metadata"]["ownerReferences"] == [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u"}
    ]


def test_a_folder_to_work_in_is_kept() -> None:
    step = json.loads(json.dumps(STEP))
    step["spec"]["containers"][1]["workingDir"] = "/my app"

    assert wanted(pod=step).container()["command"] == [
        "sh",
        "-c",
        "cd '/my app' && exec python -m node s3://models/task 1",
    ]


def test_a_pytorchjob_is_a_master_and_workers_that_fail_once() -> None:
    spec = PyTorchJob().body(wanted(nodes=3))["spec"]

    assert [spec["pytorchReplicaSpecs"][kind]["replicas"] for kind in ("Master", "Worker")] == [1, 2]
    assert (spec["nprocPerNode"], spec["runPolicy"]["backoffLimit"]) == ("1", 0)
    assert spec["runPolicy"]["cleanPodPolicy"] == "Running"
    for replicas in spec["pytorchReplicaSpecs"].values():
        assert replicas["restartPolicy"] == "Never"
        (container,) = replicas["template"]["spec"]["containers"]
        assert (container["name"], container["image"]) == ("pytorch", "training:1")
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert replicas["template"]["spec"]["automountServiceAccountToken"] is False
        assert replicas["template"]["metadata"]["labels"]["kubeflow-model-release/training-node"] == "true"


@pytest.mark.parametrize("model", ["reviews", "a" * 48, "a-very-long-name-of-a-model", "x"])
def test_a_name_is_short_enough_for_the_pods_and_the_same_each_time(model: str) -> None:
    of = digest("s3://models/checkpoints", "data=1")
    name = name_of(model, of, 16)

    assert name == name_of(model, of, 16)
    assert name != name_of(model, digest("s3://models/checkpoints", "data=2"), 16)
    assert name != name_of(model, of, 15)
    assert re.fullmatch(r"train-[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert "--" not in name
    assert len(name) <= 40
    assert len(f"{name}-node-0-63-xxxxx") <= 63


@pytest.mark.parametrize("document", [{}, {"components": {"schemas": {"a": {}}}}])
def test_a_server_that_describes_no_trainjob_says_so(document: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match="describes no TrainJob"):
        TrainJob.described(document)


def test_a_version_that_is_not_known_says_so() -> None:
    kinds = [{"group": "trainer.kubeflow.org", "version": "v1alpha1", "kind": "TrainJob"}]
    schema = {"x-kubernetes-group-version-kind": kinds, "properties": {"spec": {"properties": {"podPatches": {}}}}}
    with pytest.raises(ClusterError, match="this version of Kubeflow Trainer is not known"):
        TrainJob.described({"components": {"schemas": {"a": schema}}})


@pytest.mark.parametrize(
    ("version", "case", "stage", "ended"),
    [
        (version, case, stage, ended)
        for version in ("2.1.0", "2.3.0")
        for case, stage, ended in [
            ("succeeded", "starting", ""),
            ("succeeded", -1, "complete"),
            ("rank1_exit3", -1, "failed"),
            ("nopull", -1, ""),
            ("toobig", -1, ""),
            ("paused", "suspended", "suspended"),
            ("paused", "resumed", ""),
        ]
    ]
    + [
        ("2.3.0", "paused", "completed", "complete"),
        ("2.3.0", "late_deadline", "exceeded", "failed"),
        ("2.3.0", "lostlogs_onfailure", "failed", "failed"),
        ("2.3.0", "rankfail_default_onfailure", -1, ""),
        ("2.3.0", "noruntime_webhook_off", -1, ""),
    ],
)
def test_a_trainjob_that_was_seen_on_a_real_cluster_is_read_right(
    version: str, case: str, stage: str | int, ended: str
) -> None:
    stages = trainings(version)[case]
    found = stages[stage] if isinstance(stage, int) else next(each for each in stages if each["stage"] == stage)

    state, words = described(version).ended(found["trainjob"])
    assert state == ended
    assert bool(words) == bool(ended)


def test_a_pytorchjob_that_is_over_says_so() -> None:
    def job(*true: str) -> dict[str, Any]:
        named = [{"type": each, "status": "True", "reason": f"PyTorchJob{each}"} for each in true]
        return {"status": {"conditions": [*named, {"type": "Running", "status": "False"}]}}

    kind = PyTorchJob()
    assert kind.ended({"metadata": {"name": NAME}}) == ("", "")
    assert kind.ended(job("Created"))[0] == ""
    assert kind.ended(job("Created", "Succeeded")) == ("complete", "PyTorchJobSucceeded")
    assert kind.ended(job("Created", "Failed"))[0] == "failed"
    assert kind.ended(job("Created", "Suspended"))[0] == "suspended"
