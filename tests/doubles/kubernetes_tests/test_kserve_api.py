"""What KServe's API on the double takes, refuses and drops, by its version."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client, watch  # noqa: TID253
from kubernetes.client import ApiException  # noqa: TID253

from tests.doubles.kubernetes import double_or_real
from tests.doubles.kubernetes_tests.kserve_support import GROUP, NEW, OLD, Serving, refusal, serving

MODES = ["Knative", "Standard"]


def test_the_mode_of_a_service_is_fixed(either: Serving, eventually: Any) -> None:
    either.create()
    eventually(lambda: "deploymentMode" in either.status())
    other = next(mode for mode in MODES if mode != either.mode)
    patch = {"metadata": {"annotations": {"serving.kserve.io/deploymentMode": other}}}
    with pytest.raises(ApiException) as refused:
        either.custom.patch_namespaced_custom_object(*GROUP, "reviews", patch)

    assert refused.value.status == 403
    assert f"deploymentMode cannot be changed from '{either.mode}' to '{other}'" in refusal(refused)


@pytest.mark.parametrize(
    ("predictor", "why"),
    [
        ({"minReplicas": 3, "maxReplicas": 2}, "MinReplicas cannot be greater than MaxReplicas"),
        ({"minReplicas": -1}, "MinReplicas cannot be less than 0"),
        ({"model": None}, "exactly one of"),
        ({"model": {"storageUri": "pvc://x"}}, "spec.predictor.model.modelFormat: Required value"),
        ({"canaryTrafficPercent": "10"}, "must be of type integer"),
    ],
)
def test_a_bad_predictor_is_refused(standard: Serving, predictor: dict[str, Any], why: str) -> None:
    with pytest.raises(ApiException) as refused:
        standard.create(**predictor)

    assert refused.value.status in (403, 422)
    assert why in refusal(refused)


@pytest.mark.parametrize(
    ("predictor", "why"),
    [
        ({"deploymentStrategy": {"type": "Recreate"}}, "only supported for raw deployment mode"),
        ({"scaleMetric": "cpu"}, r"[cpu] is not a supported metric"),
    ],
)
def test_knative_mode_takes_no_strategy_and_no_metric_of_standard_mode(predictor: dict[str, Any], why: str) -> None:
    with serving("Knative") as made:
        create = made.custom.create_namespaced_custom_object
        with pytest.raises(ApiException) as refused:
            create(*GROUP, made.body(OLD, **predictor), dry_run="All")
        create(*GROUP, made.body(OLD), dry_run="All")
        assert made.custom.list_namespaced_custom_object(*GROUP)["items"] == [], "a dry run makes nothing"

    assert why in refusal(refused)


def test_canaries_belong_to_standard_mode_only() -> None:
    with serving("Knative", version="0.21.0") as made:
        body = made.body(OLD)
        body["spec"]["canary"] = [{"predictor": {**body["spec"]["predictor"], "name": "r2"}, "trafficPercent": 10}]
        with pytest.raises(ApiException) as refused:
            made.custom.create_namespaced_custom_object(*GROUP, body)

    assert "spec.canary" in refusal(refused)


@pytest.mark.parametrize(("version", "knows"), [("0.18.0", False), ("0.20.0", True)])
def test_fields_of_a_later_version_are_dropped_in_silence(version: str, knows: bool) -> None:
    with serving("Standard", version=version) as made:
        body = made.body(OLD)
        body["spec"]["canary"] = [{"predictor": {**body["spec"]["predictor"], "name": "r2"}, "trafficPercent": 10}]
        created = made.custom.create_namespaced_custom_object(*GROUP, body)
        definition = client.ApiextensionsV1Api(made.api).read_custom_resource_definition(
            "inferenceservices.serving.kserve.io"
        )
        fields = definition.spec.versions[0].schema.open_apiv3_schema.properties["spec"].properties

        assert ("canary" in created["spec"]) == knows
        assert ("canary" in fields) == knows


def test_0_15_knows_the_old_names_only(eventually: Any) -> None:
    with serving("RawDeployment", version="0.15.2") as made:
        made.create()
        eventually(made.is_ready)
        assert made.status()["deploymentMode"] == "RawDeployment"
    with serving("Standard", version="0.15.2") as made:
        made.create()
        eventually(made.is_ready)
        assert made.status()["deploymentMode"] == "Serverless"


def test_0_16_locks_up_services_with_old_names() -> None:
    with serving("RawDeployment", version="0.16.0") as made:
        made.create()
        with pytest.raises(ApiException) as refused:
            made.patch(minReplicas=2)

    assert 'invalid deployment mode "RawDeployment"' in refusal(refused)


def test_0_19_0_refuses_a_fresh_service_with_the_new_name(eventually: Any) -> None:
    with serving("Knative", version="0.19.0") as made:
        made.create()
        eventually(lambda: "InternalError" in made.reasons())

        assert "conditions" not in made.status()


def test_a_custom_resource_takes_no_strategic_patch_and_a_null_removes(standard: Serving) -> None:
    standard.create(canaryTrafficPercent=10)
    with pytest.raises(ApiException) as refused:
        standard.custom.patch_namespaced_custom_object(
            *GROUP, "reviews", {"spec": {}}, _content_type="application/strategic-merge-patch+json"
        )
    patched = standard.patch(canaryTrafficPercent=None)

    assert refused.value.status == 415
    assert "canaryTrafficPercent" not in patched["spec"]["predictor"]


def test_the_status_is_nobody_elses(standard: Serving) -> None:
    created = standard.create()
    patched = standard.custom.patch_namespaced_custom_object(*GROUP, "reviews", {"status": {"url": "http://mine"}})

    assert patched["metadata"]["generation"] == created["metadata"]["generation"]
    assert patched.get("status", {}).get("url") != "http://mine"


def test_applying_a_service_leaves_the_fields_of_others_alone(standard: Serving) -> None:
    def apply(body: dict[str, Any], manager: str) -> Any:
        options = {"field_manager": manager, "_content_type": "application/apply-patch+yaml"}
        return standard.custom.patch_namespaced_custom_object(*GROUP, "reviews", body, **options)

    # An apply that creates is answered with 201, for which this client returns nothing.
    assert apply(standard.body(OLD), "airflow") is None
    standard.custom.patch_namespaced_custom_object(*GROUP, "reviews", {"metadata": {"labels": {"team": "search"}}})
    renewed = apply(standard.body(NEW, timeout=30), "airflow")
    without = apply(standard.body(NEW), "airflow")
    with pytest.raises(ApiException) as refused:
        apply(standard.body(OLD), "somebody")

    assert renewed["metadata"]["labels"] == {"team": "search"}
    assert renewed["spec"]["predictor"]["timeout"] == 30
    assert "timeout" not in without["spec"]["predictor"]
    assert refused.value.status == 409
    assert ".spec.predictor.model.storageUri" in refusal(refused)


def test_a_service_can_be_watched_to_its_end(standard: Serving, eventually: Any) -> None:
    stream = watch.Watch()
    standard.create()
    seen = []
    options = {"field_selector": "metadata.name=reviews", "timeout_seconds": 30}
    for event in stream.stream(standard.custom.list_namespaced_custom_object, *GROUP, **options):
        conditions = event["object"].get("status", {}).get("conditions", [])
        ready = next((item["status"] for item in conditions if item["type"] == "Ready"), "")
        seen += [] if seen[-1:] == [ready] else [ready]
        if ready == "True":
            stream.stop()

    assert seen[0] == ""
    assert seen[-1] == "True"


def test_a_stopped_service_has_no_pods(either: Serving, eventually: Any) -> None:
    either.create()
    eventually(either.version)
    stop = {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}}
    either.custom.patch_namespaced_custom_object(*GROUP, "reviews", stop)
    eventually(lambda: either.condition("Stopped")["status"] == "True")
    eventually(lambda: not either.core.list_namespaced_pod("models").items)

    stop["metadata"]["annotations"]["serving.kserve.io/stop"] = "false"
    either.custom.patch_namespaced_custom_object(*GROUP, "reviews", stop)
    eventually(lambda: either.version() == OLD)


def test_tests_of_the_double_are_skipped_on_a_real_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSERVE_KUBECONFIG", "a-kubeconfig")
    with double_or_real(speed=10) as k8s:
        assert not k8s.is_double
        assert k8s.namespace == "models"
        with pytest.raises(pytest.skip.Exception, match="only the double of a cluster has faults"):
            k8s.faults.unschedulable()
