"""Many releases in a row, in every mode and on every KServe that people have, without a moment without a model."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseHook

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks._kserve.record import VERSION_LABEL
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.deployments import DeploymentTrigger
from tests.doubles.kubernetes.kserve import Behaviour, KServeSettings
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.doubles.kubernetes.resources import CONFIG_MAPS, CONTROLLER_REVISIONS
from tests.kserve_support import GOOD, KServeWorld, Users, kserve, release, version_of

pytestmark = pytest.mark.waits

MODEL = "reviews"
FIRST = "20260101000000"


def answering(world: KServeWorld) -> Any:
    return world.hook.predict(MODEL, GOOD).body["predictions"][0]["version"]


@pytest.mark.parametrize("mode", [pytest.param("Serverless", marks=pytest.mark.long), "Standard"])
def test_many_releases_and_roll_backs_are_not_noticed_by_users(tmp_path: Path, mode: str, rounds: int) -> None:
    with kserve(tmp_path, settings=KServeSettings(default_mode=mode)) as world:
        live = FIRST
        release(world.hook, MODEL, live)
        with Users(world.hook, MODEL) as users:
            for number in range(rounds):
                version = f"2026010200{number:02}00"
                release(world.hook, MODEL, version)
                assert answering(world) == version
                found = world.hook.roll_back(MODEL, candidate=version, previous=live)
                assert found is not None
                assert (found.version, found.state) == (live, DeploymentState.READY)
                assert answering(world) == live
        kept = [entry["metadata"]["name"] for entry in world.k8s.store.entries(CONTROLLER_REVISIONS)]

    assert users.answers.keys() == {"good"}, users.answers
    assert users.answers["good"] > 5 * rounds
    assert kept == [f"{MODEL}-{FIRST}"], "what was rolled back is forgotten"


@pytest.mark.parametrize(
    ("version", "default_mode", "asked"),
    [
        ("0.15.2", "RawDeployment", {}),
        ("0.15.2", "Serverless", {"deployment_mode": "standard"}),
        ("0.16.0", "Serverless", {}),
        ("0.16.0", "Serverless", {"deployment_mode": "standard"}),
        ("0.19.0", "Serverless", {"deployment_mode": "knative"}),
        ("0.20.0", "Knative", {}),
        ("0.21.0", "Standard", {"deployment_mode": "standard"}),
        ("0.21.0", "Standard", {"deployment_mode": "knative"}),
    ],
)
def test_a_release_and_its_way_back_work_on_every_kserve(
    tmp_path: Path, version: str, default_mode: str, asked: dict[str, str]
) -> None:
    with kserve(tmp_path, settings=KServeSettings(version=version, default_mode=default_mode)) as world:
        release(world.hook, MODEL, FIRST, **asked)
        release(world.hook, MODEL, "20260102000000", **asked)
        assert answering(world) == "20260102000000"
        world.hook.roll_back(MODEL, candidate="20260102000000", previous=FIRST)
        assert answering(world) == FIRST
        mode = world.k8s.kserve.service(MODEL)["status"]["deploymentMode"]

    expected = asked.get("deployment_mode") or {"RawDeployment": "standard"}.get(default_mode, "knative")
    names = {"standard": ("Standard", "RawDeployment"), "knative": ("Knative", "Serverless")}
    assert mode in names[expected]


def test_what_others_have_written_into_a_service_stays(tmp_path: Path) -> None:
    with kserve(tmp_path) as world:
        release(world.hook, MODEL, FIRST)

        def annotate(service: dict[str, Any]) -> None:
            service["metadata"]["annotations"]["team.example.com/cost-centre"] = "42"

        world.hook._api.change_service(MODEL, annotate)
        release(world.hook, MODEL, "20260102000000")
        world.hook.roll_back(MODEL, candidate="20260102000000", previous=FIRST)
        annotations = world.k8s.kserve.service(MODEL)["metadata"]["annotations"]

    assert annotations["team.example.com/cost-centre"] == "42"
    assert "canaryTrafficPercent" not in world.k8s.store.get(SERVICES, "models", MODEL)["spec"]["predictor"]


def test_a_service_that_was_deleted_by_hand_comes_back_with_a_roll_back(tmp_path: Path) -> None:
    with kserve(tmp_path) as world:
        release(world.hook, MODEL, FIRST)
        world.hook._delete(MODEL)
        live = world.hook.roll_back(MODEL, candidate="20260102000000", previous=FIRST)
        assert live is not None
        assert (live.version, live.state) == (FIRST, DeploymentState.READY)
        assert answering(world) == FIRST


def test_a_roll_back_may_go_to_any_version_that_is_kept(tmp_path: Path) -> None:
    with kserve(tmp_path) as world:
        for version in (FIRST, "20260102000000", "20260103000000"):
            release(world.hook, MODEL, version)
        live = world.hook.roll_back(MODEL, candidate="20260103000000", previous=FIRST)
        assert live is not None
        assert live.version == answering(world) == FIRST
        label = world.k8s.kserve.service(MODEL)["spec"]["predictor"]["labels"][VERSION_LABEL]
        assert label == FIRST


@pytest.mark.parametrize("mode", ["Serverless", pytest.param("Standard", marks=pytest.mark.long)])
def test_releases_work_where_nobody_may_find_out_the_mode(tmp_path: Path, mode: str) -> None:
    second = "20260102000000"
    with kserve(tmp_path, settings=KServeSettings(default_mode=mode)) as world:
        world.k8s.faults.forbid("get", "configmaps")
        world.hook.check_candidate(version_of(MODEL, FIRST))
        if mode == "Serverless":
            with pytest.raises(InvalidRequestError, match=r"admission webhook.*\[cpu\] is not a supported metric$"):
                world.hook.check_candidate(version_of(MODEL, FIRST, scale_metric="cpu"))
        assert world.k8s.store.entries(SERVICES) == [], "it was only tried"
        release(world.hook, MODEL, FIRST)
        world.hook.check_candidate(version_of(MODEL, second))
        release(world.hook, MODEL, second)
        world.hook.roll_back(MODEL, candidate=second, previous=FIRST)
        assert answering(world) == FIRST


def test_the_configuration_is_found_where_a_kubeflow_platform_has_it(tmp_path: Path) -> None:
    with kserve(tmp_path) as world:
        name = "inferenceservice-config"
        config = world.k8s.store.delete(CONFIG_MAPS, "kserve", name)
        world.k8s.add_namespace("kubeflow")
        world.k8s.store.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": config["data"]}, "kubeflow")
        assert "Knative mode by default" in world.hook.test_connection()[1]


# While a task is deferred


def trigger(version: str) -> DeploymentTrigger:
    return DeploymentTrigger(
        model=MODEL,
        version=version,
        conn_id="serving_kserve",
        deadline=datetime.now(tz=UTC) + timedelta(seconds=30),
        poll_interval_seconds=0.2,
    )


def connect(world: KServeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    conn = world.connection
    value = {"conn_type": conn.conn_type, "host": conn.host, "extra": json.loads(conn.extra or "{}")}
    monkeypatch.setenv("AIRFLOW_CONN_SERVING_KSERVE", json.dumps(value))


def test_a_trigger_waits_until_a_candidate_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blocking(conn_id: str) -> Any:
        raise AssertionError(f"{conn_id} was looked up in a way that stops the event loop")

    with kserve(tmp_path) as world:
        connect(world, monkeypatch)
        world.hook.deploy_candidate(version_of(MODEL, FIRST))
        monkeypatch.setattr(BaseHook, "get_connection", blocking)
        event = asyncio.run(trigger(FIRST).wait())

    assert (event["outcome"], event["state"]) == ("over", "READY")
    assert event["url"] == "http://reviews-candidate-models.example.com"


def test_a_trigger_stops_early_when_it_is_hopeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kserve(tmp_path) as world:
        connect(world, monkeypatch)
        world.models.behave(FIRST, Behaviour.CRASH)
        world.hook.deploy_candidate(version_of(MODEL, FIRST))
        event = asyncio.run(trigger(FIRST).wait())

    assert (event["outcome"], event["state"]) == ("over", "FAILED")
    assert "RuntimeError: the weights do not fit the model" in event["reason"]
