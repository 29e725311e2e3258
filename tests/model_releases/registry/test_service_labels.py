"""The registry's labels on an InferenceService: set when a release makes it, and never on one that is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.sdk import Connection

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.triggers import base
from model_releases.registry.model_registry import ModelRegistryHook
from model_releases.registry.service_labels import are_wanted, labelling, service_labels
from tests.connected import connect
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.doubles.model_registry import ModelRegistry, model_registry
from tests.doubles.model_registry.controller import RegistryController
from tests.end_to_end.every_write import put_back_steps, release_steps, run, undo_steps, without_airflow
from tests.kserve_support import RUNTIME, KServeWorld, kserve
from tests.serving_support import MODEL, build_version
from tests.waiting import wait_for

FIRST, SECOND = "20260101000000", "20260102000000"
PREFIX = "modelregistry.kubeflow.org/"


@dataclass
class World:
    """KServe and the registry with its controller, and the steps of releases between them."""

    kserve: KServeWorld
    server: ModelRegistry
    controller: RegistryController
    registry: ModelRegistryHook
    store: Path

    def settings(self, **kserve: Any) -> dict[str, Any]:
        """Return further arguments of ``deploy_candidate``."""
        settings = {"runtime": RUNTIME, "storage": {self.store.as_uri(): "s3://models"}, **kserve}
        return {"settings": {"workers": 1, "kserve": settings}, "poll_interval_seconds": 0.01}

    def release(self, version: str, **kserve: Any) -> None:
        run(release_steps(build_version(self.store, version), **self.settings(**kserve)))
        self.controller.reconcile()

    def service(self, name: str = MODEL) -> dict[str, Any]:
        return next(entry for entry in self.kserve.k8s.store.entries(SERVICES) if entry["metadata"]["name"] == name)

    def labels(self) -> dict[str, str]:
        """Return the registry's labels of the service that users call."""
        return of_the_registry(self.service())

    def relabelled(self) -> list[str]:
        """Return the services whose labels were changed after they were made."""
        changes = self.kserve.k8s.store.changes(SERVICES, 0)
        return [
            change.now["metadata"]["name"]
            for change in changes
            if change.before and change.before["metadata"].get("labels") != change.now["metadata"].get("labels")
        ]

    def records(self) -> list[dict[str, Any]]:
        """Return the registry's records of InferenceServices."""
        return [row.document() for row in self.server.store.rows.values() if row.kind == "inference_services"]

    def version_id(self, version: str) -> str:
        rows = [row for row in self.server.store.rows.values() if row.kind == "model_versions"]
        return str(next(row.id for row in rows if row.fields["name"] == version))


def of_the_registry(service: dict[str, Any]) -> dict[str, str]:
    labels = service["metadata"].get("labels") or {}
    return {name.removeprefix(PREFIX): value for name, value in labels.items() if name.startswith(PREFIX)}


def hook(url: str) -> ModelRegistryHook:
    connection = Connection(conn_id="registry_default", conn_type="kubeflow_model_registry", host=url)
    return ModelRegistryHook("registry_default", connection=connection)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    without_airflow(monkeypatch)
    monkeypatch.setattr(base, "_pauses", lambda *_, **options: iter(lambda: 0.01, None))
    settings = KServeSettings(default_mode=getattr(request, "param", "Standard"), version="0.20.0")
    with ExitStack() as stack:
        server = stack.enter_context(model_registry())
        kubernetes = stack.enter_context(kserve(tmp_path, settings=settings))
        controller = RegistryController(kubernetes.k8s, server)
        stack.callback(controller.close)
        connect(monkeypatch, serving_default=kubernetes.hook, registry_default=hook(server.url))
        yield World(kubernetes, server, controller, hook(server.url), tmp_path / "store")


@pytest.mark.waits
@pytest.mark.long
@pytest.mark.parametrize("world", ["Standard", "Knative"], indirect=True)
def test_a_service_has_them_from_the_beginning_and_no_change_of_a_live_one_carries_any(world: World) -> None:
    world.release(FIRST, registry_labels=True)
    (record,) = world.records()
    labels = {"registered-model-id": "1", "inference-service-id": record["id"]}
    assert world.labels() == labels
    assert (record["modelVersionId"], record["desiredState"]) == (world.version_id(FIRST), "DEPLOYED")

    world.release(SECOND, registry_labels=True)
    (record,) = world.records()
    assert record["modelVersionId"] == world.version_id(SECOND)
    first = build_version(world.store / "again", FIRST)
    run(put_back_steps(first, instead_of=SECOND, **world.settings(registry_labels=True)))
    world.controller.reconcile()

    (record,) = world.records()
    assert (record["modelVersionId"], record["desiredState"]) == (world.version_id(FIRST), "DEPLOYED")
    assert record["customProperties"]["url"]["string_value"], "what the controller writes stays"
    assert world.labels() == labels
    assert world.relabelled() == []
    candidates = [change.now for change in world.kserve.k8s.store.changes(SERVICES, 0)]
    assert not any(of_the_registry(found) for found in candidates if found["metadata"]["name"] != MODEL)


@pytest.mark.waits
@pytest.mark.long
def test_switched_on_later_it_changes_nothing_and_says_so(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    world.release(FIRST)
    assert world.labels() == {}, "off by default"
    caplog.set_level(logging.INFO)
    world.release(SECOND, registry_labels=True)

    assert world.labels() == {}
    assert world.records() == []
    assert world.relabelled() == []
    assert "registry_labels is on and changes nothing" in caplog.text + capsys.readouterr().out


@pytest.mark.waits
@pytest.mark.long
def test_a_service_that_has_to_be_made_again_has_the_same_ones(world: World) -> None:
    world.release(FIRST, registry_labels=True)
    world.release(SECOND, registry_labels=True)
    labels = world.labels()
    world.kserve.k8s.store.delete(SERVICES, world.kserve.k8s.namespace, MODEL)
    gone = lambda: MODEL not in [entry["metadata"]["name"] for entry in world.kserve.k8s.store.entries(SERVICES)]  # noqa: E731

    def is_gone() -> bool:
        world.controller.reconcile()
        return gone()

    wait_for(is_gone, lambda: "the service is gone")
    assert [record["desiredState"] for record in world.records()] == ["UNDEPLOYED"]
    run(undo_steps(SECOND, previous=FIRST))

    assert world.labels() == labels
    (record,) = world.records()
    assert (record["modelVersionId"], record["desiredState"]) == (world.version_id(FIRST), "DEPLOYED")


@pytest.mark.waits
@pytest.mark.long
def test_without_the_record_s_id_the_controller_would_start_the_pods_of_a_live_model_anew(world: World) -> None:
    world.release(FIRST)
    before = {pod["metadata"]["name"] for pod in world.kserve.k8s.pods()}
    place = (SERVICES, world.kserve.k8s.namespace, MODEL)
    world.kserve.k8s.store.change(
        *place, lambda found: found["metadata"]["labels"].update({f"{PREFIX}registered-model-id": "1"})
    )
    world.controller.reconcile()

    assert set(world.labels()) == {"registered-model-id", "inference-service-id"}
    wait_for(
        lambda: not before & {pod["metadata"]["name"] for pod in world.kserve.k8s.pods()}, lambda: "every pod is new"
    )


# What the registry is asked


class Cluster:
    namespace = "team"


ON = {"kserve": {"registry_labels": True}}


@pytest.fixture
def registry() -> Iterator[ModelRegistryHook]:
    from include.contracts.registry_tags import ReleaseState
    from model_releases.registry.service import Release

    with model_registry() as server:
        found = hook(server.url)
        release = Release(model=MODEL, version=FIRST, state=ReleaseState.CANDIDATE, archive_uri="s3://models/1")
        found.register(release, metrics={})
        yield found


def test_a_record_is_made_once_and_has_nothing_to_show_yet(registry: ModelRegistryHook) -> None:
    asked: dict[str, Any] = {"serving": Cluster(), "registry": registry}
    labels = [service_labels(ON, MODEL, **asked, is_live=False) for _ in range(2)]

    assert labels[0] == labels[1]
    assert service_labels(ON, MODEL, **asked, is_live=True) == labels[0]
    with httpx.Client(base_url=f"{registry.get_conn().url}/api/model_registry/v1") as people:
        (record,) = people.get("/inference_services").json()["items"]
        (environment,) = people.get("/serving_environments").json()["items"]
    assert (environment["name"], record["desiredState"], "modelVersionId" in record) == ("team", "UNDEPLOYED", False)


def test_the_registry_of_a_cluster_is_named_because_there_may_be_several() -> None:
    found = hook("http://model-registry-service.kubeflow.svc.cluster.local:8080")
    found._tell = lambda story: {f"{PREFIX}registered-model-id": "1"}  # type: ignore[method-assign]

    labels = found.service_labels(MODEL, environment="team", may_make=True)

    assert labels == {
        f"{PREFIX}registered-model-id": "1",
        f"{PREFIX}name": "model-registry-service",
        f"{PREFIX}namespace": "kubeflow",
    }


def test_nobody_asks_for_them_where_there_is_no_kubernetes() -> None:
    assert are_wanted(ON, Cluster())  # type: ignore[arg-type]
    assert not are_wanted({}, Cluster())  # type: ignore[arg-type]
    assert not are_wanted(ON, object())  # type: ignore[arg-type]


def test_another_registry_has_none() -> None:
    with pytest.raises(InvalidRequestError, match="only Kubeflow's Model Registry"):
        labelling(object())  # type: ignore[arg-type]


def test_an_id_that_somebody_has_put_there_is_no_path(registry: ModelRegistryHook) -> None:
    with httpx.Client(base_url=f"{registry.get_conn().url}/api/model_registry/v1") as people:
        wrong = {"metadataType": "MetadataStringValue", "string_value": "../registered_models/1"}
        body = {"customProperties": {"release.inference_service": wrong}, "state": "LIVE"}
        assert people.patch("/registered_models/1", content=json.dumps(body)).is_success

    assert service_labels(ON, MODEL, serving=Cluster(), registry=registry, is_live=True) == {}  # type: ignore[arg-type]
