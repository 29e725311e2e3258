"""KServe on the double keeps what facts on KServe say that it keeps, and breaks the rest."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from kubernetes import client  # noqa: TID253
from kubernetes.client import ApiException  # noqa: TID253

from tests.doubles.kubernetes import Behaviour, Lags
from tests.doubles.kubernetes_tests.kserve_support import GROUP, NEW, OLD, Serving, refusal, serving

MODES = ["Knative", "Standard"]


# Both modes


def test_a_service_becomes_ready_and_answers(either: Serving, eventually: Any) -> None:
    either.create()
    assert not either.is_ready()
    eventually(either.is_ready)
    eventually(either.version)

    assert either.version() == OLD
    assert either.status()["deploymentMode"] == either.mode
    assert either.status()["modelStatus"]["transitionStatus"] == "UpToDate"
    assert either.status()["modelStatus"]["states"] == {"activeModelState": "Loaded", "targetModelState": "Loaded"}


def test_an_update_replaces_the_model_without_a_gap(either: Serving, eventually: Any) -> None:
    either.create()
    eventually(either.version)
    either.patch(version=NEW)
    answers: Counter[str | None] = Counter()

    def replaced() -> bool:
        answers[either.version()] += 1
        return answers[NEW] >= 10

    eventually(replaced)
    assert set(answers) == {OLD, NEW}


def test_the_gateway_knows_a_route_only_some_time_after_ready(eventually: Any) -> None:
    with serving("Knative", speed=10, lags=Lags(route_seconds=10)) as made:
        made.create()
        eventually(made.is_ready)
        statuses = [made.ask().status_code]
        eventually(lambda: statuses.append(made.ask().status_code) or statuses[-1] == 200)

    assert list(dict.fromkeys(statuses)) == [404, 503, 200]


def test_the_path_template_is_another_door(either: Serving, eventually: Any) -> None:
    either.create()
    eventually(either.version)

    assert either.version(host="elsewhere", path="/serving/models/reviews/v1/models/reviews:predict") == OLD
    assert either.version(host="elsewhere") is None


def test_the_api_server_passes_requests_on_to_the_pods(either: Serving, eventually: Any) -> None:
    either.create()
    eventually(either.version)
    name = "reviews-predictor" if either.mode == "Standard" else "reviews-predictor-00001-private"
    read = either.core.connect_get_namespaced_service_proxy_with_path
    answer = read(f"{name}:80", "models", "v1/models/reviews", _preload_content=False)
    with pytest.raises(ApiException) as refused:
        either.core.connect_post_namespaced_service_proxy_with_path(f"{name}:80", "models", "v1/models/reviews:predict")

    assert answer.json()["ready"]
    # This client can send no body through the proxy: the answer is the model's own.
    assert refused.value.status == 400
    assert "instances" in refusal(refused)


def test_a_gateway_with_a_login_lets_nobody_in_without_a_token(eventually: Any) -> None:
    with serving("Knative", tokens=frozenset({"good"}), cookies=frozenset({"baked"})) as made:
        made.create()
        eventually(lambda: made.version(headers={"Authorization": "Bearer good"}))

        assert made.version(headers={"Cookie": "oauth2_proxy_kubeflow=baked"}) == OLD
        assert made.ask(headers={"Authorization": "Bearer bad"}).status_code == 403
        turned_away = made.ask()
        assert turned_away.status_code == 302
        assert turned_away.headers["Location"].startswith("/dex/auth")


def test_a_crash_is_a_failed_load_with_the_end_of_the_log(knative: Serving, eventually: Any) -> None:
    knative.models.behave(OLD, Behaviour.CRASH)
    knative.create()
    eventually(lambda: knative.status().get("modelStatus", {}).get("transitionStatus") == "BlockedByFailedLoad")
    failure = knative.status()["modelStatus"]["lastFailureInfo"]

    assert (failure["reason"], failure["exitCode"]) == ("ModelLoadFailed", 1)
    assert "the weights do not fit the model" in failure["message"]
    assert not knative.is_ready()


def test_in_standard_mode_nothing_but_the_pod_tells_of_a_crash(standard: Serving, eventually: Any) -> None:
    """A crash changes nothing of the Deployment, and that is what KServe watches."""
    standard.models.behave(OLD, Behaviour.CRASH)
    standard.create()
    ended = eventually(standard.crash)

    assert ended.exit_code == 1
    assert "the weights do not fit the model" in ended.message
    status = standard.status()["modelStatus"]
    assert (status["transitionStatus"], status["states"]["targetModelState"]) == ("InProgress", "Pending")
    assert "lastFailureInfo" not in status


def test_a_failure_stays_on_record_after_recovery(knative: Serving, eventually: Any) -> None:
    knative.models.behave(OLD, Behaviour.CRASH)
    knative.create()
    eventually(lambda: "lastFailureInfo" in knative.status().get("modelStatus", {}))
    knative.models.behave(OLD, Behaviour.GOOD)
    eventually(knative.is_ready)

    assert knative.status()["modelStatus"]["transitionStatus"] == "UpToDate"
    assert knative.status()["modelStatus"]["lastFailureInfo"]["exitCode"] == 1


def test_the_live_model_answers_while_its_successor_crashes(either: Serving, eventually: Any) -> None:
    either.create()
    eventually(either.version)
    either.models.behave(NEW, Behaviour.CRASH)
    either.patch(version=NEW)
    eventually(either.crash)

    assert either.version() == OLD
    # Standard mode still says that all is well, Knative does not.
    eventually(lambda: either.is_ready() == (either.mode == "Standard"))


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("image", "Failed"),
        ("claim", "FailedScheduling"),
        ("secret", "Failed"),
        ("room", "FailedScheduling"),
        ("quota", "FailedCreate"),
    ],
)
def test_what_the_model_status_never_tells_stands_in_the_events(trouble: str, reason: str, eventually: Any) -> None:
    with serving("Standard") as made:
        predictor: dict[str, Any] = made.body(OLD)["spec"]["predictor"]
        if trouble == "image":
            predictor["model"]["image"] = "absent:1"
        elif trouble == "claim":
            predictor["model"]["storageUri"] = "pvc://absent/model"
        elif trouble == "secret":
            key = {"secretKeyRef": {"name": "absent", "key": "x"}}
            predictor["model"]["env"] = [{"name": "X", "valueFrom": key}]
        elif trouble == "room":
            made.k8s.faults.unschedulable()
        else:
            made.k8s.faults.over_quota()
        made.create(**predictor)
        eventually(lambda: reason in made.reasons())

        assert made.status()["modelStatus"]["transitionStatus"] == "InProgress"
        assert made.status()["modelStatus"]["states"]["targetModelState"] == "Pending"


def test_a_model_out_of_memory_is_killed_again_and_again(standard: Serving, eventually: Any) -> None:
    standard.k8s.faults.out_of_memory()
    standard.create()

    ended = eventually(standard.crash)
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


def test_a_download_that_fails_is_told_with_its_reason(either: Serving, eventually: Any) -> None:
    either.k8s.kserve.storage.broken.add("s3://bucket/nothing")
    body = either.body(OLD)
    body["spec"]["predictor"]["model"]["storageUri"] = "s3://bucket/nothing"
    either.custom.create_namespaced_custom_object(*GROUP, body)
    eventually(lambda: "lastFailureInfo" in either.status().get("modelStatus", {}))

    assert "No model found in s3://bucket/nothing" in either.status()["modelStatus"]["lastFailureInfo"]["message"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"runtime": "absent"}, "RuntimeNotRecognized"),
        ({"runtime": None, "modelFormat": {"name": "sklearn"}}, "NoSupportingRuntime"),
        ({"protocolVersion": "grpc-v2"}, "NoSupportingRuntime"),
    ],
)
def test_a_model_without_a_runtime_is_an_invalid_spec(
    standard: Serving, eventually: Any, model: dict[str, Any], reason: str
) -> None:
    standard.create(model={**standard.body(OLD)["spec"]["predictor"]["model"], **model})
    eventually(lambda: standard.status().get("modelStatus", {}).get("transitionStatus") == "InvalidSpec")

    assert standard.status()["modelStatus"]["lastFailureInfo"]["reason"] == reason


def test_a_storage_uri_that_is_none_is_only_an_event(standard: Serving, eventually: Any) -> None:
    standard.create(model={**standard.body(OLD)["spec"]["predictor"]["model"], "storageUri": "ftp://x/y"})
    eventually(lambda: "InternalError" in standard.reasons())

    assert "modelStatus" not in standard.status()


def test_deleting_a_service_takes_everything_with_it(either: Serving, eventually: Any) -> None:
    either.create()
    eventually(either.version)
    host = either.status()["url"].removeprefix("http://")
    either.custom.delete_namespaced_custom_object(*GROUP, "reviews")
    eventually(lambda: not either.custom.list_namespaced_custom_object(*GROUP)["items"])
    eventually(lambda: not either.core.list_namespaced_pod("models").items)

    assert either.ask(host=host).status_code == 404


# Knative


def test_a_canary_gets_its_share_and_can_be_promoted(knative: Serving, eventually: Any) -> None:
    knative.create()
    eventually(knative.version)
    stale = knative.patch(version=NEW, canaryTrafficPercent=20)["status"]["components"]["predictor"]
    eventually(lambda: knative.component()["latestReadyRevision"] == "reviews-predictor-00002")
    split = [(item["revisionName"], item["percent"], item.get("tag")) for item in knative.component()["traffic"]]
    answers = Counter(knative.version() for _ in range(50))
    prev = next(item["url"] for item in knative.component()["traffic"] if item.get("tag") == "prev")

    assert stale["latestCreatedRevision"] == "reviews-predictor-00001"
    assert split == [("reviews-predictor-00002", 20, None), ("reviews-predictor-00001", 80, "prev")]
    assert answers == {OLD: 40, NEW: 10}
    assert knative.version(host=prev.removeprefix("http://")) == OLD

    knative.patch(canaryTrafficPercent=None)
    eventually(lambda: knative.component()["latestRolledoutRevision"] == "reviews-predictor-00002")
    assert knative.component()["previousRolledoutRevision"] == "reviews-predictor-00001"
    assert Counter(knative.version() for _ in range(10)) == {NEW: 10}


def test_a_candidate_at_zero_percent_can_be_asked_by_its_tag(knative: Serving, eventually: Any) -> None:
    body = knative.body(OLD)
    body["metadata"]["annotations"]["serving.kserve.io/enable-tag-routing"] = "true"
    knative.custom.create_namespaced_custom_object(*GROUP, body)
    eventually(knative.version)
    knative.patch(version=NEW, canaryTrafficPercent=0)
    eventually(lambda: knative.component()["latestReadyRevision"] == "reviews-predictor-00002")
    host = knative.component()["traffic"][0]["url"].removeprefix("http://")
    eventually(lambda: knative.version(host=host))

    assert host == "latest-reviews-predictor-models.example.com"
    assert knative.version(host=host) == NEW
    assert Counter(knative.version() for _ in range(10)) == {OLD: 10}


def test_after_a_promotion_zero_percent_goes_back_one_level(knative: Serving, eventually: Any) -> None:
    knative.create()
    eventually(knative.version)
    knative.patch(version=NEW)
    eventually(lambda: knative.component()["latestRolledoutRevision"] == "reviews-predictor-00002")
    knative.patch(canaryTrafficPercent=0)
    eventually(lambda: knative.component()["latestRolledoutRevision"] == "reviews-predictor-00001")
    eventually(lambda: knative.version() == OLD)

    assert knative.get()["spec"]["predictor"]["model"]["storageUri"].endswith(f"{NEW}/package")


def test_the_first_deployment_ignores_its_canary_share(knative: Serving, eventually: Any) -> None:
    knative.create(canaryTrafficPercent=10)
    eventually(knative.version)

    assert {item["revisionName"] for item in knative.component()["traffic"]} == {"reviews-predictor-00001"}
    assert knative.component()["latestRolledoutRevision"] == "reviews-predictor-00001"


def test_an_image_that_is_not_there_fails_the_revision(knative: Serving, eventually: Any) -> None:
    model = knative.body(OLD)["spec"]["predictor"]["model"] | {"image": "absent:1"}
    knative.create(model=model)
    eventually(lambda: knative.condition("PredictorConfigurationReady")["status"] == "False")
    found = knative.condition("PredictorConfigurationReady")

    assert found["reason"] == "RevisionFailed"
    assert "Unable to fetch image" in found["message"]


def test_knative_mode_without_knative_is_an_event(eventually: Any) -> None:
    with serving("Knative", knative=False) as made:
        made.create()
        eventually(lambda: "ServerlessModeRejected" in made.reasons())


# Standard mode


def test_standard_mode_ignores_the_canary_share(standard: Serving, eventually: Any) -> None:
    standard.create()
    eventually(standard.version)
    standard.patch(version=NEW, canaryTrafficPercent=0)
    eventually(lambda: standard.version() == NEW)

    assert standard.status()["address"]["url"] == "http://reviews-predictor.models.svc.cluster.local"


def test_a_deployment_tells_when_the_new_template_serves(standard: Serving, eventually: Any) -> None:
    apps = client.AppsV1Api(standard.api)
    standard.create()
    eventually(standard.is_ready)
    standard.patch(annotations={"release": NEW}, version=NEW)

    def rolled_out() -> bool:
        found = apps.read_namespaced_deployment("reviews-predictor", "models")
        done = found.status.observed_generation == found.metadata.generation
        counts = {found.status.replicas, found.status.updated_replicas, found.status.available_replicas}
        return found.spec.template.metadata.annotations.get("release") == NEW and done and counts == {1}

    eventually(rolled_out)
    assert standard.is_ready()


@pytest.mark.parametrize(("version", "share"), [("0.20.0", 0), ("0.21.0", 30)])
def test_a_canary_predictor_gets_traffic_from_0_21_on(version: str, share: int, eventually: Any) -> None:
    with serving("Standard", version=version) as made:
        made.create()
        eventually(made.version)
        canary = {"predictor": {**made.body(NEW)["spec"]["predictor"], "name": "r2"}, "trafficPercent": 30}
        made.custom.patch_namespaced_custom_object(*GROUP, "reviews", {"spec": {"canary": [canary]}})
        eventually(lambda: made.condition("CanaryPredictorReady")["status"] == "True")
        answers = Counter(made.version() for _ in range(100))

    assert answers[NEW] == share


def test_a_dark_canary_without_replicas_is_never_ready(eventually: Any) -> None:
    with serving("Standard", version="0.20.0") as made:
        made.create()
        eventually(made.version)
        canary = {"predictor": {**made.body(NEW)["spec"]["predictor"], "name": "r2"}, "trafficPercent": 0}
        del canary["predictor"]["minReplicas"]
        made.custom.patch_namespaced_custom_object(*GROUP, "reviews", {"spec": {"canary": [canary]}})
        eventually(lambda: made.condition("CanaryPredictorReady")["status"] == "False")

        assert made.status()["canaryStatuses"] == [{"name": "r2", "ready": False, "trafficPercent": 0}]
        assert made.is_ready()
