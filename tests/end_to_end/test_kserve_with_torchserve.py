"""The manifest's runtime, the image's server and the hook together: real TorchServes as pods of the double."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.kubernetes.kserve.definitions import RUNTIMES
from tests.kserve_support import GOOD, RUNTIME, KServeWorld, Users, kserve, settled
from tests.serving_image import install_runtime
from tests.serving_support import build_version

# A release with this server behind KServe is in test_release_on_kubeflow too, a roll back in the contract tests, and an
# archive that was changed in tests/classifier/test_serve.
pytestmark = [pytest.mark.torchserve, pytest.mark.long]

MODEL = "toy-reviews"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def world(tmp_path: Path, store: Path, pipelines_python: str) -> Iterator[KServeWorld]:
    """Yield a cluster in Standard mode with the manifest's runtime, and a claim with the model store."""
    store.mkdir()
    with kserve(tmp_path, settings=KServeSettings(default_mode="Standard"), speed=2.0) as running:
        running.k8s.add_claim("models", store)
        running.k8s.store.delete(RUNTIMES, running.k8s.namespace, RUNTIME)
        install_runtime(running.k8s, pipelines_python)
        yield running


def build(store: Path, version: str) -> ModelVersion:
    built = build_version(store, version, model=MODEL)
    return replace(built, settings={**built.settings, "kserve": {"storage": {store.as_uri(): "pvc://models"}}})


def release(world: KServeWorld, version: ModelVersion) -> None:
    world.hook.deploy_candidate(version)
    found = settled(world.hook, MODEL, version.version)
    assert found.state is DeploymentState.READY, found.reason
    world.hook.promote(MODEL, version.version)
    found = settled(world.hook, MODEL, version.version)
    assert found.state is DeploymentState.READY, found.reason


def test_a_release_a_roll_back_and_an_archive_that_was_changed(world: KServeWorld, store: Path) -> None:
    first, second, changed = (
        build(store, version) for version in ("20260101000000", "20260102000000", "20260103000000")
    )
    release(world, first)
    with Users(world.hook, MODEL) as users:
        release(world, second)
        answer = world.hook.predict(MODEL, GOOD)
        assert answer.body["predictions"][0]["version"] == second.version
        assert world.hook.predict(MODEL, b"{").status_code == 400

        world.hook.roll_back(MODEL, candidate=second.version, previous=first.version)
        assert world.hook.predict(MODEL, GOOD).body["predictions"][0]["version"] == first.version
    assert users.answers.keys() == {"good"}, users.answers

    archive = store / MODEL / changed.version / "model-store" / f"{MODEL}.mar"
    archive.write_bytes(archive.read_bytes() + b"x")
    world.hook.deploy_candidate(changed)
    found = settled(world.hook, MODEL, changed.version)
    assert found.state is DeploymentState.FAILED
    assert f"does not hold the archive that was released (SHA-256 {changed.archive_sha256})" in (found.reason or "")
