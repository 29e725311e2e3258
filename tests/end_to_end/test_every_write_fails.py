"""Whatever write of whatever step fails: record, registry and server agree afterwards, or after the next try.

The steps, the registry's and the server's hooks are the real ones; behind them are tables, so that every write can be
made to fail, one after the other.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import KubeflowProviderError, ServiceUnavailableError
from model_releases.operators import undo
from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.model_registry import ModelRegistryHook
from model_releases.registry.service import RegistryService
from tests.connected import connect
from tests.end_to_end.every_write import (
    Faults,
    Step,
    mlflow_error,
    put_back_steps,
    release_steps,
    run,
    run_until_it_fails,
    undo_steps,
    without_airflow,
)
from tests.quick_mlflow import Mlflow
from tests.quick_model_registry import QuickModelRegistry
from tests.quick_torchserve import Server, quick_hook
from tests.serving_support import MODEL, build_version

FIRST, SECOND, THIRD = "20260101000000", "20260102000000", "20260103000000"


class World:
    """One installation, in which a first version is live.

    :param kind: which registry keeps the record.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        self.faults = Faults()
        self.state = folder / "state"
        self.server = Server(lambda what: self.faults(ServiceUnavailableError(f"TorchServe did not answer: {what}")))
        self.table: Mlflow | QuickModelRegistry
        self.registry: RegistryService
        if kind == "mlflow":
            self.table = Mlflow(lambda what: self.faults(mlflow_error(what)))
            extra = '{"tracking_uri": "http://mlflow.example"}'
            self.registry = MlflowHook(connection=Connection(conn_id="registry", conn_type="mlflow", extra=extra))
            monkeypatch.setattr(MlflowHook, "_client", self.table)
        else:
            self.table = QuickModelRegistry(
                lambda what: self.faults(ServiceUnavailableError(f"The registry did not answer: {what}"))
            )
            fields = {"conn_id": "registry", "conn_type": "kubeflow_model_registry", "host": "http://registry.example"}
            self.registry = ModelRegistryHook(connection=Connection(**fields))
            monkeypatch.setattr(self.registry.get_conn(), "send", self.table.send)
        self.serving = quick_hook(monkeypatch, self.state, self.server)
        connect(monkeypatch, serving_default=self.serving, registry_default=self.registry)
        self.versions = {version: build_version(folder / "store", version) for version in (FIRST, SECOND, THIRD)}
        _fail_file_writes(monkeypatch, self.state, self.faults)
        run(self.release(FIRST))
        self._saved: Any = None

    def release(self, version: str) -> list[Step]:
        return release_steps(self.versions[version])

    def put_back(self, version: str, *, instead_of: str) -> list[Step]:
        return put_back_steps(self.versions[version], instead_of=instead_of)

    def save(self) -> None:
        copy = self.state.with_name("saved")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.state, copy)
        self._saved = deepcopy((self.server.models, self.server.defaults)), self.table.save()

    def restore(self) -> None:
        self.faults.arm(None)
        shutil.rmtree(self.state)
        shutil.copytree(self.state.with_name("saved"), self.state)
        self.server.is_running = True
        server, table = self._saved
        self.server.models, self.server.defaults = deepcopy(server)
        self.table.restore(table)

    def says(self) -> dict[str, Any]:
        """Return what each of them holds to be live."""
        live = self.registry.get_live(MODEL)
        return {
            "record": self.serving._record.model(MODEL).live,
            "server": self.server.defaults.get(MODEL),
            "registry": live and live.version,
            "states": [release.version for release in self.registry.list_releases(MODEL, state=ReleaseState.LIVE)],
        }

    def left_behind(self) -> set[str]:
        """Return the files that nobody needs."""
        needed = {stored.archive for stored in self.serving._record.model(MODEL).versions.values()}
        return {path.name for path in (self.state / "model-store").iterdir()} - needed - {"placeholder.mar"}


def _fail_file_writes(monkeypatch: pytest.MonkeyPatch, folder: Path, faults: Faults) -> None:
    def patched(name: str, is_write: Callable[..., bool] = lambda *_: True) -> None:
        original = getattr(Path, name)

        def write(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.is_relative_to(folder) and is_write(path, *arguments):
                faults(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)))
            return original(path, *arguments, **options)

        monkeypatch.setattr(Path, name, write)

    patched("replace")
    patched("unlink", lambda path, *_: path.exists())
    patched("open", lambda path, mode="r", *_: "r" not in mode)
    monkeypatch.setattr(os, "fsync", lambda file: faults(OSError(errno.EROFS, os.strerror(errno.EROFS), "live.part")))


@pytest.fixture(scope="module", params=["mlflow", pytest.param("kubeflow_model_registry", marks=pytest.mark.long)])
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_airflow(monkeypatch)
        monkeypatch.setattr(undo, "_PROOF_SECONDS", 0)
        yield World(tmp_path_factory.mktemp("world"), monkeypatch, request.param)


STORIES: dict[str, tuple[Callable[[World], None], Callable[[World], list[Step]], str]] = {
    "release": (lambda world: None, lambda world: world.release(SECOND), SECOND),
    "roll back": (
        lambda world: run(world.release(SECOND)[:3]),
        lambda world: undo_steps(SECOND, previous=FIRST),
        FIRST,
    ),
    "roll back of what was recorded": (
        lambda world: run(world.release(SECOND)),
        lambda world: undo_steps(SECOND, previous=FIRST),
        FIRST,
    ),
    "put back": (
        lambda world: run(world.release(SECOND)),
        lambda world: world.put_back(FIRST, instead_of=SECOND),
        FIRST,
    ),
}
#: What a release or a put back that failed is undone with, and to which version.
UNDONE = {
    "release": (lambda world: undo_steps(SECOND, previous=FIRST), FIRST),
    "put back": (lambda world: undo_steps(FIRST, previous=SECOND), SECOND),
}


def agree(version: str) -> dict[str, Any]:
    return {"record": version, "server": version, "registry": version, "states": [version]}


def tries() -> Iterator[Any]:
    """Yield every way to fail and to go on; those that found most are told often."""
    for story in STORIES:
        for then in ("is tried again", "is undone")[: 2 if story in UNDONE else 1]:
            often = ("killed", "dies too") if then == "is undone" else ("from then on", "stays up")
            for mode in ("once", "from then on", "killed"):
                for server in ("stays up", "dies too"):
                    marks = () if (mode, server) == often else pytest.mark.long
                    yield pytest.param(story, then, mode, server, marks=marks)


@pytest.mark.computes
@pytest.mark.parametrize(("story", "then", "mode", "server"), [*tries()])
def test_one_truth_is_left(world: World, story: str, then: str, mode: str, server: str) -> None:
    prepare, steps_of, goal = STORIES[story]
    if world._saved is None:
        world.save()
    world.restore()
    prepare(world)
    world.save()
    writes = 0
    while True:
        world.restore()
        steps = steps_of(world)
        world.faults.arm(writes + 1, mode)
        left, error = run_until_it_fails(steps)
        if not world.faults.hits:
            break
        writes += 1
        where = f"write {writes} of {story}"
        world.faults.arm(None)
        if mode != "killed" and error is not None:
            assert isinstance(error, KubeflowProviderError), f"{where}: {error!r}"
            assert any(part in str(error) for part in ("did not answer", "cannot ", "No space", "Read-only")), where
        if server == "dies too":
            world.server.is_running = False
        expected = goal
        if then == "is tried again" and error is not None:
            left, error = run_until_it_fails(left)
        if error is not None:  # a candidate does not come back with the server
            assert then == "is undone" or server == "dies too", where
            undoing, expected = UNDONE[story]
            run(undoing(world))
        world.serving.start()
        assert world.says() == agree(expected), where
        if mode == "killed":  # leaves most behind
            run(world.release(THIRD))
            assert world.says() == agree(THIRD), f"the release after {where}"
            assert not world.left_behind(), where
    assert writes > 5
