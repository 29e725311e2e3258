"""A deployment is done when the new version answers, and whatever fails leaves the version before serving."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.contracts.monitoring.capture import OPT_OUT_ID
from include.contracts.version import release_marks as marks
from include.release_in_kubeflow import inference_service
from include.release_in_kubeflow.inference_service import (
    PREVIOUS,
    DeploymentError,
    InferenceService,
    Patience,
    storage_uri,
)
from tests.inference_services import Cluster, inference_services

FIRST, SECOND = "20261121030000", "20261122030000"
LIVE = {"minReplicas": 2, "model": {"storageUri": "s3://models/first", "runtime": "ours", "env": [{"name": "A"}]}}
NEW = {"model": {"storageUri": "s3://models/second", "runtime": "ours"}}


def version_of(predictor: dict[str, Any], body: bytes) -> tuple[int, Any]:
    """Answer as a model does that names its version; one that is called broken never answers."""
    if "broken" in predictor["model"]["storageUri"]:
        return 503, {}
    rows = json.loads(body)["instances"]
    return 200, {"predictions": [{"label": "good", "version": marks.released_version(predictor)} for _ in rows]}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with inference_services(version_of, tmp_path / "kubeconfig") as cluster:
        yield cluster


def service(deadline: float = 30, hopeless_after: float = 0.1) -> InferenceService:
    return InferenceService("reviews", namespace="team", patience=Patience(deadline, hopeless_after, poll=0.01))


def pod(version: str, *, reason: str, message: str = "", ended: dict[str, Any] | None = None) -> dict[str, Any]:
    status = {
        "name": "kserve-container",
        "image": "",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": {"terminated": ended} if ended else {},
    }
    return {
        "metadata": {"name": "p", "labels": {marks.VERSION_LABEL: version}},
        "spec": {"containers": []},
        "status": {"containerStatuses": [status]},
    }


def test_the_first_version_is_created_and_answers(cluster: Cluster) -> None:
    service().deploy(FIRST, LIVE)

    created = cluster.services["reviews"]
    assert created["kind"] == "InferenceService"
    assert created["metadata"]["labels"] == marks.MANAGED_BY
    predictor = created["spec"]["predictor"]
    assert predictor["labels"] == {marks.VERSION_LABEL: FIRST, marks.MODEL_LABEL: "reviews"}
    assert LIVE.items() <= predictor.items()
    assert cluster.heads
    for head in cluster.heads:  # what a release asks is none of what users send
        assert (head["X-Capture"], head["Ce-Id"][: len(OPT_OUT_ID)]) == ("off", OPT_OUT_ID)


def test_an_update_waits_until_the_old_version_answers_no_more(cluster: Cluster) -> None:
    service().deploy(FIRST, LIVE)
    cluster.lag = 20
    service().deploy(SECOND, NEW)

    updated = cluster.services["reviews"]
    assert updated["spec"]["predictor"]["model"] == LIVE["model"] | NEW["model"]
    assert updated["spec"]["predictor"]["minReplicas"] == 2
    assert cluster.answering("reviews") == updated["spec"]["predictor"]
    assert json.loads(updated["metadata"]["annotations"][PREVIOUS])["model"] == LIVE["model"]


def test_a_version_that_never_answers_gives_way_to_the_one_before(cluster: Cluster) -> None:
    service().deploy(FIRST, LIVE)
    before = copy.deepcopy(cluster.services["reviews"])
    cluster.conflicts = 2

    with pytest.raises(
        DeploymentError, match=r"did not answer within 0\.3 s: it answers with HTTP status 503"
    ) as error:
        service(deadline=0.3).deploy(SECOND, {"model": {"storageUri": "s3://models/broken"}})

    assert str(error.value).endswith(f"The version before ({FIRST}) was put back.")
    assert cluster.services["reviews"]["spec"] == before["spec"]


def test_a_first_version_that_never_answers_is_removed(cluster: Cluster) -> None:
    with pytest.raises(DeploymentError, match="had no version before; it was removed"):
        service(deadline=0.2).deploy(FIRST, {"model": {"storageUri": "s3://models/broken"}})
    assert cluster.services == {}


def test_a_second_try_still_knows_what_was_before(cluster: Cluster) -> None:
    service().deploy(FIRST, LIVE)
    first = copy.deepcopy(cluster.services["reviews"]["spec"]["predictor"])
    service().deploy(SECOND, NEW)
    service().deploy(SECOND, NEW)

    assert service().put_back(SECOND) == f"The version before ({FIRST}) was put back."
    assert cluster.services["reviews"]["spec"]["predictor"] == first


def test_what_somebody_else_deployed_since_is_left_alone(cluster: Cluster) -> None:
    service().deploy(FIRST, LIVE)
    service().deploy(SECOND, NEW)
    before = copy.deepcopy(cluster.services)
    assert "changed by somebody else" in service().put_back(FIRST)
    assert cluster.services == before


def test_a_release_of_an_earlier_version_is_known_by_its_old_mark(cluster: Cluster) -> None:
    old = {"annotations": {marks.OLD_VERSION: FIRST}, **LIVE}
    cluster.services["reviews"] = {"metadata": {"name": "reviews"}, "spec": {"predictor": old}}
    service().deploy(SECOND, NEW)

    predictor = cluster.services["reviews"]["spec"]["predictor"]
    assert predictor["annotations"][marks.PREVIOUS_VERSION] == FIRST
    assert not predictor["annotations"].get(marks.OLD_VERSION)
    assert service().put_back(SECOND) == f"The version before ({FIRST}) was put back."
    assert cluster.services["reviews"]["spec"]["predictor"] == old


@pytest.mark.parametrize(
    ("predictor", "words"),
    [
        (LIVE, "was not made by a release"),
        (LIVE | {"labels": {marks.VERSION_LABEL: FIRST}, "canaryTrafficPercent": 10}, "another release is under way"),
    ],
    ids=["somebody else's", "in the middle of a release"],
)
def test_what_is_not_its_own_is_left_alone(cluster: Cluster, predictor: dict[str, Any], words: str) -> None:
    cluster.services["reviews"] = {"metadata": {"name": "reviews"}, "spec": {"predictor": predictor}}
    before = copy.deepcopy(cluster.services)

    with pytest.raises(DeploymentError, match=words):
        service().deploy(SECOND, NEW)
    assert cluster.services == before


@pytest.mark.parametrize(
    ("pods", "status", "words"),
    [
        (
            [pod(SECOND, reason="ImagePullBackOff", message='Back-off pulling image "nowhere/x"')],
            {},
            'container kserve-container is in ImagePullBackOff: Back-off pulling image "nowhere/x"',
        ),
        (
            [pod(SECOND, reason="CrashLoopBackOff", ended={"exitCode": 137, "reason": "OOMKilled"})],
            {},
            "container kserve-container ran out of memory: raise serving_memory",
        ),
        (
            [pod(SECOND, reason="CrashLoopBackOff", ended={"exitCode": 1, "message": "The worker of reviews died"})],
            {},
            "container kserve-container is in CrashLoopBackOff: The worker of reviews died",
        ),
        (
            [],
            {"transitionStatus": "InvalidSpec", "lastFailureInfo": {"reason": "NoSupportingRuntime"}},
            "InvalidSpec: NoSupportingRuntime",
        ),
    ],
)  # fmt: skip
def test_what_is_hopeless_is_said_before_the_time_is_over(cluster: Cluster, pods: Any, status: Any, words: str) -> None:
    service().deploy(FIRST, LIVE)
    cluster.pods = [pod(FIRST, reason="CrashLoopBackOff"), *pods]
    cluster.status["modelStatus"] = status
    with pytest.raises(DeploymentError) as error:
        service(deadline=600).deploy(SECOND, {"model": {"storageUri": "s3://models/broken"}})
    assert f"cannot be deployed: {words}" in str(error.value)


def test_an_old_failure_that_kserve_never_takes_back_does_not_count(cluster: Cluster) -> None:
    cluster.lag = 10
    cluster.status["modelStatus"] = {"transitionStatus": "UpToDate", "lastFailureInfo": {"reason": "ModelLoadFailed"}}
    service().deploy(FIRST, LIVE)
    service(hopeless_after=0).deploy(SECOND, NEW)


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (403, 'User "x" cannot create resource', "Give the run's service account the rights of deploy/"),
        (422, "predictor.model.storageUri is wrong", "Change what it names"),
    ],
)
def test_a_refusal_says_who_refused_what(cluster: Cluster, code: int, message: str, words: str) -> None:
    cluster.refusal = (code, message)
    with pytest.raises(DeploymentError) as error:
        service().deploy(FIRST, LIVE)
    assert message in str(error.value)
    assert words in str(error.value)


def test_where_kserve_finds_what_lies_on_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_service, "VOLUME_PATH", "/mnt/models")
    assert storage_uri("s3://models/a/package", volume="models") == "s3://models/a/package"
    assert storage_uri("file:///mnt/models/a/1/package", volume="models") == "pvc://models/a/1/package"
    with pytest.raises(DeploymentError, match="does not lie on the volume"):
        storage_uri("file:///mnt/storage/a/package", volume="models")


def test_outside_a_cluster_the_namespace_must_be_given() -> None:
    with pytest.raises(DeploymentError, match="give the parameter namespace"):
        InferenceService("reviews")
