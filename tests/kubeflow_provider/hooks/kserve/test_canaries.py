"""Canaries of Standard mode: only where KServe has them, and gives them the traffic that they are to have."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.canaries import check_canaries
from kubeflow_provider.hooks._kserve.capabilities import Capabilities
from kubeflow_provider.hooks._kserve.modes import Mode
from kubeflow_provider.kubernetes.inference_service import inference_service
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.kserve_support import IMAGE, kserve
from tests.waiting import wait_for

SCHEMA = {"properties": {"spec": {"properties": {"canary": {"type": "array"}}}}}
OLD_SCHEMA: dict[str, Any] = {"properties": {"spec": {}}}
NEW: dict[str, Any] = {"version": (0, 21, 0), "default_mode": Mode.STANDARD, "gateway_api": True, "schema": SCHEMA}


def service(*canaries: dict[str, Any]) -> dict[str, Any]:
    return inference_service("iris", "models", {"model": {}, "minReplicas": 1}, canaries=canaries)


def canary(percent: int = 10, **predictor: Any) -> dict[str, Any]:
    return {"predictor": {"name": "new", "minReplicas": 1, "model": {}, **predictor}, "trafficPercent": percent}


def test_what_can_work_is_taken() -> None:
    check_canaries(service(), Capabilities(), None)
    check_canaries(service(canary(), canary(20, name="newer")), Capabilities(**NEW), Mode.STANDARD)
    check_canaries(service(canary(0)), Capabilities(**NEW | {"version": (0, 20, 0)}), Mode.STANDARD)


@pytest.mark.parametrize(
    ("of_server", "mode", "words"),
    [
        ({"schema": OLD_SCHEMA, "version": (0, 19, 1)}, Mode.STANDARD, "came with KServe 0.20, and this is KServe"),
        ({"schema": {}}, Mode.STANDARD, "its CRD must not be read. Allow that"),
        ({}, Mode.KNATIVE, "in Knative mode `canary_percent`"),
        ({}, None, "an unknown mode"),
        ({"gateway_api": False}, Mode.STANDARD, "only routes of the Gateway API"),
        ({"version": (0, 20, 0)}, Mode.STANDARD, "KServe 0.20.0, Standard mode by default gives canaries no traffic"),
        ({"version": None}, Mode.STANDARD, "its ConfigMap must not be read"),
    ],
)  # fmt: skip
def test_a_server_that_could_not_do_it_is_named(of_server: dict[str, Any], mode: Mode | None, words: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        check_canaries(service(canary()), Capabilities(**NEW | of_server), mode)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("canaries", "words"),
    [
        ([canary(name=None)], "each needs a `name` of its own"),
        ([canary(), canary()], "each needs a `name` of its own"),
        ([canary(60), canary(60, name="b")], "more than 100 in all"),
        ([canary(maxReplicas=3)], "new must not have maxReplicas"),
        ([canary(0, minReplicas=None)], "would never have a pod"),
        ([canary(minReplicas=2)], "more `minReplicas` than the stable predictor"),
        ([{"predictor": {"name": "new", "minReplicas": 1}}], "new has no `trafficPercent`"),
    ],
)
def test_what_kserve_would_refuse_is_named_before_it_is_asked(canaries: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        check_canaries(service(*canaries), Capabilities(**NEW), Mode.STANDARD)
    assert words in str(error.value)


@pytest.mark.waits
def test_a_canary_is_ready_with_its_own_pods_and_becomes_the_stable_one_without_new_ones(tmp_path: Path) -> None:
    settings = KServeSettings(version="0.21.0", default_mode="Standard")
    stable = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris/1"}, "minReplicas": 1}
    new = {"name": "two", "minReplicas": 1, "model": {**stable["model"], "storageUri": "s3://models/iris/2"}}
    with kserve(tmp_path, settings=settings) as world:
        world.k8s.kserve.add_runtime("sklearn-server", IMAGE, formats=("sklearn",))
        services = world.hook.inference_services

        def apply(predictor: dict[str, Any], **options: Any) -> None:
            services.apply(inference_service("iris", services.namespace, predictor, **options))
            found = []

            def is_ready() -> bool:
                found[:] = [services.get("iris")]
                assert found[0].state is not DeploymentState.FAILED, found[0].reason
                return found[0].state is DeploymentState.READY

            wait_for(is_ready, lambda: f"the end of {found}", pause=0.05)

        def pods() -> dict[str, str]:
            return {pod["metadata"]["labels"]["app"]: pod["metadata"]["name"] for pod in world.k8s.pods()}

        apply(stable)
        apply(stable, canaries=[{"predictor": new, "trafficPercent": 10}])
        before = pods()
        assert before.keys() == {"isvc.iris-predictor", "isvc.iris-two-predictor"}
        apply(new)
        while len(pods()) > 1:
            time.sleep(0.05)
        assert pods() == {"isvc.iris-two-predictor": before["isvc.iris-two-predictor"]}
