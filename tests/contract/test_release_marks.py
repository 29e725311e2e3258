"""A pipeline that releases by itself and a release with Airflow know each other's versions on one cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.contracts.version import release_marks as marks
from include.release_in_kubeflow.inference_service import Answer, InferenceService, Patience
from kubeflow_provider.exceptions import ServiceUnavailableError
from kubeflow_provider.hooks._kserve import record
from kubeflow_provider.hooks._kserve.releases import specs
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.kserve_support import RUNTIME, KServeWorld, kserve, release, settled, version_of
from tests.rights import RELEASE_IN_KUBEFLOW, SERVING, rights

pytestmark = pytest.mark.waits

MODEL = "reviews"
FIRST, SECOND, THIRD = "20260101000000", "20260102000000", "20260103000000"


@pytest.fixture(params=[pytest.param("Serverless", marks=pytest.mark.long), "Standard"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KServeWorld]:
    with kserve(tmp_path, settings=KServeSettings(default_mode=request.param)) as running:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        # The pipeline asks as itself; here both have one kubeconfig.
        running.k8s.faults.allow_only(rights(*SERVING, RELEASE_IN_KUBEFLOW))
        yield running


class FromOutside(InferenceService):
    """Asks through the gateway: the names inside a cluster lead nowhere here."""

    def __init__(self, world: KServeWorld) -> None:
        super().__init__(MODEL, namespace=world.k8s.namespace, patience=Patience(60, 30, 0.05))
        self._hook = world.hook

    def _ask(self, texts: list[str]) -> Answer:
        try:
            answer = self._hook.predict(MODEL, json.dumps({"instances": texts}).encode())
        except ServiceUnavailableError:
            return Answer(0)
        return Answer(answer.status_code, answer.body["predictions"] if answer.status_code == 200 else [])


def predictor(version: str) -> dict[str, Any]:
    """Return what a pipeline asks for."""
    model = specs.predictor(version_of(MODEL, version), PredictorSettings(runtime=RUNTIME), mode=None)["model"]
    return {"minReplicas": 1, "model": model}


def live(world: KServeWorld) -> str:
    found = world.hook.get_live(MODEL)
    assert found is not None
    assert settled(world.hook, MODEL, found.version).state is DeploymentState.READY
    return str(found.version)


def test_each_takes_up_and_puts_back_what_the_other_has_released(world: KServeWorld) -> None:
    pipeline = FromOutside(world)
    pipeline.deploy(FIRST, predictor(FIRST))
    assert live(world) == FIRST

    release(world.hook, MODEL, SECOND)
    assert live(world) == SECOND
    world.hook.roll_back(MODEL, candidate=SECOND, previous=FIRST)
    assert live(world) == FIRST

    release(world.hook, MODEL, SECOND)
    pipeline.deploy(THIRD, predictor(THIRD))
    assert (live(world), world.hook.get_previous(MODEL)) == (THIRD, SECOND)
    assert pipeline.put_back(THIRD) == f"The version before ({SECOND}) was put back."
    assert live(world) == SECOND


def test_the_marks_are_those_of_the_provider() -> None:
    assert (marks.VERSION_LABEL, marks.MODEL_LABEL) == (record.VERSION_LABEL, record.MODEL_LABEL)
    assert marks.MANAGED_BY == record.MANAGED_BY
    assert marks.ARCHIVE_SHA256 == record.ARCHIVE
    assert marks.ARCHIVE_SHA256_VARIABLE == specs.ARCHIVE_SHA256_VARIABLE
    assert {marks.PREVIOUS_VERSION, marks.STABLE_VERSION, marks.REPLACES_REVISION, marks.SINCE} == {*record._STAMPS}
