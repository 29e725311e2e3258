"""The native server on one machine: a switch loses no request, and only what was judged on it is served with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState
from local_services.native_server.hook import LocalNativeHook
from local_services.native_server.packages import PackageStore
from tests.native_support import build_native_version, local_native, native_connection
from tests.serving_support import GOOD, MODEL, Users, build_version, connection
from tests.waiting import LIMIT_SECONDS

FIRST, SECOND = "20260101000000", "20260102000000"


@pytest.fixture
def native(pipelines_python: str, tmp_path: Path) -> Iterator[SimpleNamespace]:
    with local_native(pipelines_python, tmp_path) as running:
        yield running


def deploy(hook: LocalNativeHook, candidate: ModelVersion) -> Any:
    deployment: Any = hook.deploy_candidate(candidate)
    deadline = time.monotonic() + LIMIT_SECONDS
    while not deployment.state.is_terminal:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        deployment = hook.get_deployment(candidate.model, candidate.version)
    return deployment


def answering(hook: LocalNativeHook, version: str | None = None) -> Any:
    answer = hook.predict(MODEL, GOOD, version=version)
    return answer.body["predictions"][0]["version"] if answer.status_code == 200 else answer.status_code


@pytest.mark.processes
def test_a_release_its_switch_and_its_roll_back_lose_no_request(native: SimpleNamespace) -> None:
    hook = native.hook
    assert deploy(hook, build_native_version(native.store, FIRST)).state is DeploymentState.READY
    hook.promote(MODEL, FIRST)
    with Users(hook.endpoint_url(MODEL), number=2, pause_seconds=0.01) as users:
        assert deploy(hook, build_native_version(native.store, SECOND)).state is DeploymentState.READY
        assert (answering(hook), answering(hook, SECOND)) == (FIRST, SECOND)
        hook.promote(MODEL, SECOND)
        assert answering(hook) == SECOND
        hook.roll_back(MODEL, candidate=SECOND, previous=FIRST)
        assert answering(hook) == FIRST
    assert set(users.statuses) == {200}
    assert {row["version"] for rows in users.predictions() for row in rows} == {FIRST, SECOND}
    # Nobody but the router listens where other users of the machine are let in.
    processes = hook._processes.processes()
    addresses = {found.laddr for process in processes for found in process.net_connections("inet")}
    assert addresses == {("127.0.0.1", hook._settings.port)}
    (server,) = [each for each in processes if "include.classifier.native" in each.cmdline()]
    assert not {name for name in server.environ() if name.startswith(("AIRFLOW", "AWS"))}
    server.kill()
    psutil.wait_procs([server], timeout=LIMIT_SECONDS)
    assert answering(hook) == FIRST, "what was live is brought back"


@pytest.mark.processes
@pytest.mark.long
def test_twenty_switches_under_eight_users_lose_no_request(native: SimpleNamespace) -> None:
    hook, versions = native.hook, [f"202601{day:02}000000" for day in range(1, 22)]

    def release(version: str) -> None:
        assert deploy(hook, build_native_version(native.store, version)).state is DeploymentState.READY
        hook.promote(MODEL, version)

    release(versions[0])
    with Users(hook.endpoint_url(MODEL), number=8, pause_seconds=0.02) as users:
        for version in versions[1:]:
            release(version)
    assert set(users.statuses) == {200}
    assert answering(hook) == versions[-1]
    running = [each for each in hook._processes.processes() if "include.classifier.native" in each.cmdline()]
    assert len(running) == 2, "the live version and the one before"


@pytest.mark.processes
def test_what_cannot_be_loaded_says_why_and_is_not_tried_again(native: SimpleNamespace) -> None:
    broken = deploy(native.hook, build_native_version(native.store, FIRST, behaviour="does not load"))
    assert broken.state is DeploymentState.FAILED
    assert "the weights do not fit the model" in broken.reason
    assert native.hook.get_deployment(MODEL, FIRST) == broken


def test_a_version_is_served_with_what_it_was_judged_on(tmp_path: Path) -> None:
    from local_services.torchserve.hook import TorchServeHook

    native = LocalNativeHook(connection=native_connection("/no/python", tmp_path / "native", port=1))
    torchserve = TorchServeHook(connection=connection("/no/python", tmp_path / "torchserve", port=1))
    for_native, for_torchserve = (
        build_native_version(tmp_path, FIRST),
        build_version(tmp_path, SECOND),
    )
    native.check_candidate(for_native)
    torchserve.check_candidate(for_torchserve)
    for deploy_elsewhere in (native.deploy_candidate, native.check_candidate):
        with pytest.raises(InvalidRequestError, match=r"is for `serving.runtime: torchserve`.*type `torchserve`"):
            deploy_elsewhere(for_torchserve)
    for deploy_elsewhere in (torchserve.deploy_candidate, torchserve.check_candidate):
        with pytest.raises(InvalidRequestError, match=r"is for `serving.runtime: native`.*type `local_native`"):
            deploy_elsewhere(for_native)


def test_the_store_takes_only_what_was_announced(tmp_path: Path) -> None:
    store = PackageStore(tmp_path / "models")
    version = build_native_version(tmp_path / "published", FIRST)
    name = f"{MODEL}-{FIRST}"
    other = ModelVersion(model=MODEL, version=FIRST, archive_uri=version.archive_uri, archive_sha256="0" * 64)
    with pytest.raises(InvalidRequestError, match="announced was"):
        store.fetch(other, name)
    assert store.versions() == {}
    for _ in range(2):
        store.fetch(version, name)
    stored = store.versions()[MODEL][FIRST]
    assert stored.sha256 == version.archive_sha256
    folder = store.path(MODEL, FIRST, stored)
    archive = folder / "model-store" / f"{MODEL}.mar"
    archive.write_bytes(archive.read_bytes() + b"more")
    with pytest.raises(InvalidRequestError, match="was changed since"):
        store.path(MODEL, FIRST, stored)
    store.delete(name)
    store.delete(name)
    assert not folder.exists()
