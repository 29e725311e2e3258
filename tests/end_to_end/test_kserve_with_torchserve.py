"""The manifest's runtime, the image's server and the hook together: real TorchServes as pods of the double."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.kubernetes.kserve.definitions import RUNTIMES
from tests.doubles.kubernetes.programs import Launch, ProcessGroup
from tests.kserve_support import GOOD, KServeWorld, Users, kserve, wait_for, write_server_config
from tests.serving_support import build_version, free_port

pytestmark = pytest.mark.torchserve

ROOT = Path(__file__).parents[2]
MODEL = "toy-reviews"
SERVE = ("-m", "include.classifier.serve")


@dataclass(frozen=True)
class ServingImage:
    """The image, as far as serving goes: its commands run on this machine, with ports and a folder of their own.

    :param python: interpreter of the pipeline half's environment.
    """

    python: str

    def start(self, launch: Launch) -> _Server:
        assert list(launch.arguments[:3]) == ["python", *SERVE]
        return _Server(self.python, launch, port=free_port())


class _Server(ProcessGroup):
    def __init__(self, python: str, launch: Launch, *, port: int) -> None:
        self._python, self._variables = python, {**launch.variables, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        self._folder = tempfile.TemporaryDirectory(prefix="s-", ignore_cleanup_errors=True)
        options = ["--folder", f"{self._folder.name}/serving", "--host", "127.0.0.1"]
        options += ["--port", str(port), "--metrics-port", str(free_port())]
        argv = [python, *SERVE, str(launch.mounted["/mnt/models"]), *options]
        super().__init__(argv, self._variables, ROOT, launch.log, {8080: ("127.0.0.1", port)})

    def run(self, command: Sequence[str]) -> int:
        """Run the readiness probe's command in the container."""
        assert list(command) == ["python", *SERVE, "--check"]
        argv = [self._python, *SERVE, "--check", "--folder", f"{self._folder.name}/serving"]
        return subprocess.run(argv, env=self._variables, cwd=ROOT, check=False, capture_output=True).returncode

    def stop(self, grace_seconds: float) -> None:
        super().stop(grace_seconds)
        self._folder.cleanup()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def world(tmp_path: Path, store: Path, pipelines_python: str) -> Iterator[KServeWorld]:
    """Yield a cluster in Standard mode with the manifest's runtime, and a claim with the model store."""
    store.mkdir()
    runtime: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "serving-runtime.yaml").read_text(encoding="utf-8"))
    with kserve(tmp_path, settings=KServeSettings(default_mode="Standard"), speed=2.0) as running:
        image = runtime["spec"]["containers"][0]["image"]
        running.k8s.add_image(image, ServingImage(pipelines_python))
        running.k8s.add_claim("models", store)
        running.k8s.store.delete(RUNTIMES, running.k8s.namespace, runtime["metadata"]["name"])
        runtime["metadata"]["namespace"] = running.k8s.namespace
        running.k8s.store.create(RUNTIMES, runtime, running.k8s.namespace)
        yield running


def build(store: Path, version: str) -> ModelVersion:
    built = build_version(store, version, model=MODEL)
    write_server_config(store / MODEL / version, model=MODEL, version=version)
    return replace(built, settings={**built.settings, "kserve": {"storage": {store.as_uri(): "pvc://models"}}})


def release(world: KServeWorld, version: ModelVersion) -> None:
    world.hook.deploy_candidate(version)
    found = wait_for(world.hook, MODEL, version.version, seconds=90)
    assert found.state is DeploymentState.READY, found.reason
    world.hook.promote(MODEL, version.version)
    found = wait_for(world.hook, MODEL, version.version, seconds=90)
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
    found = wait_for(world.hook, MODEL, changed.version, seconds=60)
    assert found.state is DeploymentState.FAILED
    assert f"does not hold the archive that was released (SHA-256 {changed.archive_sha256})" in (found.reason or "")
