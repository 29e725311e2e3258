"""Whatever write to Kubernetes or to the registry fails: registry, InferenceService and what answers agree afterwards.

The steps and the hooks are the real ones. Kubernetes is the double, reached over HTTP; the registry is a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from include.contracts.registry_tags import VERSION_TAG, ReleaseState
from kubeflow_provider.exceptions import KubeflowProviderError
from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.record import Record
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers import base
from model_releases.registry.mlflow import MlflowHook
from model_releases.triggers import promotion
from tests.connected import connect
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.end_to_end.every_write import (
    Faults,
    Killed,
    Step,
    mlflow_error,
    put_back_steps,
    release_steps,
    run,
    run_until_it_fails,
    undo_steps,
    without_airflow,
)
from tests.kserve_support import RUNTIME, KServeWorld, kserve, settled
from tests.quick_mlflow import Mlflow
from tests.serving_support import GOOD, MODEL, build_version

#: What becomes of a request that writes, in turn: answered with a status, closed before it was looked at, carried out
#: and the answer lost.
ANSWERS = {"refused by the server": (500, 503), "not taken": (0,), "lost": (-1,)}
_METHODS = {"create": "POST", "change": "PATCH", "delete": "DELETE"}


class World:
    """An installation, in which a first version is live; each story goes on from where the one before ended."""

    def __init__(self, kubernetes: KServeWorld, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hook, self.k8s = kubernetes.hook, kubernetes.k8s
        self.faults, self.whose, self.answer = Faults(), "", 0
        self._versions = (build_version(store, str(number)) for number in count(20260101000000))
        self._built: dict[str, Any] = {}
        runtime = {"runtime": RUNTIME, "storage": {store.as_uri(): "s3://models"}}
        self._settings = {"settings": {"workers": 1, "kserve": runtime}, "poll_interval_seconds": 0.01}
        self.mlflow = Mlflow(lambda what: self._fail("registry", mlflow_error(what)))
        extra = '{"tracking_uri": "http://mlflow.example"}'
        self.registry = MlflowHook(connection=Connection(conn_id="registry", conn_type="mlflow", extra=extra))
        monkeypatch.setattr(MlflowHook, "_client", self.mlflow)
        connect(monkeypatch, serving_default=self.hook, registry_default=self.registry)
        self._fail_writes(monkeypatch)
        self.live = self.new()
        run(self.release(self.live))

    def new(self) -> str:
        """Make a version and return it."""
        version = next(self._versions)
        self._built[version.version] = version
        return version.version

    def forget(self) -> None:
        """Take all but the live version out of the registry: each release looks through all of it."""
        (entry,) = [found for found in self.mlflow._versions[MODEL].values() if found.tags[VERSION_TAG] == self.live]
        entry.version = "1"
        self.mlflow._versions[MODEL] = {"1": entry}
        self.mlflow._aliases[MODEL] = dict.fromkeys(self.mlflow._aliases[MODEL], "1")

    def release(self, version: str) -> list[Step]:
        """Return the steps of a release; where traffic can be split, half of it comes first."""
        *deploying, promote, record = release_steps(self._built[version], **self._settings)
        return [*deploying, lambda: self._split(version), promote, record]

    def _split(self, version: str) -> None:
        if self.hook.can_split_traffic(MODEL):
            self.hook.shift_traffic(MODEL, version, 50)
            assert settled(self.hook, MODEL, version).state is DeploymentState.READY

    def put_back(self, version: str, *, instead_of: str) -> list[Step]:
        return put_back_steps(self._built[version], instead_of=instead_of, **self._settings)

    def says(self) -> dict[str, Any]:
        """Return what each of them holds to be live, and what is there besides."""
        live = self.registry.get_live(MODEL)
        services = [entry for entry in self.k8s.store.entries(SERVICES) if not _is_going(entry)]
        return {
            "services": {entry["metadata"]["name"]: Record.of(entry).version for entry in services},
            "split": [entry["metadata"]["name"] for entry in services if Record.of(entry).percent is not None],
            "answers": {self.hook.predict(MODEL, GOOD).body["predictions"][0]["version"] for _ in range(3)},
            "registry": live and live.version,
            "states": [release.version for release in self.registry.list_releases(MODEL, state=ReleaseState.LIVE)],
        }

    def _fail(self, whose: str, error: Exception) -> None:
        if whose == self.whose:
            self.faults(error)

    def _fail_writes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = ClusterApi._call

        def write(api: ClusterApi, what: str, call: Callable[[], Any], **options: Any) -> Any:
            verb = what.split()[0]
            if verb not in _METHODS:
                return original(api, what, call, **options)
            killed = False
            try:
                self._fail("cluster", ConnectionError(what))
            except Killed:
                killed = True
            except ConnectionError:
                path = "inferenceservices" if "InferenceService" in what else "controllerrevisions"
                self.k8s.faults.http(_METHODS[verb], path, status=self.answer)
            answer = original(api, what, call, **options)
            if killed:
                raise Killed
            return answer

        monkeypatch.setattr(ClusterApi, "_call", write)


def _is_going(service: dict[str, Any]) -> bool:
    return bool(service["metadata"].get("deletionTimestamp"))


def agree(version: str) -> dict[str, Any]:
    return {
        "services": {MODEL: version},
        "split": [],
        "answers": {version},
        "registry": version,
        "states": [version],
    }


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    settings = KServeSettings(default_mode=request.param, version="0.20.0")
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        kserve(folder, settings=settings, outage_seconds=0.2) as kubernetes,
    ):
        without_airflow(monkeypatch)
        monkeypatch.setattr(base, "_pauses", lambda *_, **options: iter(lambda: 0.01, None))
        monkeypatch.setattr(promotion, "_POLL_SECONDS", 0.01)
        yield World(kubernetes, folder / "store", monkeypatch)


def _release(world: World) -> tuple[list[Step], str, list[Step]]:
    version = world.new()
    return world.release(version), version, undo_steps(version, previous=world.live)


def _undo(world: World) -> tuple[list[Step], str, list[Step]]:
    version = world.new()
    run(world.release(version)[:-1])
    return undo_steps(version, previous=world.live), world.live, []


def _undo_a_part(world: World) -> tuple[list[Step], str, list[Step]]:
    version = world.new()
    run(world.release(version)[:-2])
    return undo_steps(version, previous=world.live), world.live, []


def _put_back(world: World) -> tuple[list[Step], str, list[Step]]:
    version, before = world.new(), world.live
    run(world.release(version))
    world.live = version
    return world.put_back(before, instead_of=version), before, undo_steps(before, previous=version)


#: Story -> its steps, the version that is live at its end, and what takes it back.
STORIES = {"release": _release, "roll back": _undo, "roll back of a part": _undo_a_part, "put back": _put_back}


#: What is told in `make test`.
OFTEN = {
    ("release", "is undone"): ("cluster", "killed", "-"),
    ("roll back", "is tried again"): ("cluster", "once", "lost"),
}


def tries() -> Iterator[Any]:
    """Yield ways to fail and to go on, first in one mode of KServe and then in the other.

    A way is a whole release for each write that there is: every story takes turns with some of them.
    """
    of_the_cluster = [
        ("cluster", "once", "refused by the server"),
        ("cluster", "once", "lost"),
        ("cluster", "from then on", "not taken"),
        ("cluster", "killed", "-"),
    ]
    ends = [(story, "is undone") for story in STORIES if not story.startswith("roll back")]
    for kserve_mode in ("Standard", "Knative"):
        for turn, (story, then) in enumerate([*((story, "is tried again") for story in STORIES), *ends]):
            often = OFTEN.get((story, then)) if kserve_mode == "Standard" else None
            of_the_registry = ("registry", "killed" if then == "is undone" else "from then on", "-")
            # What is different in Knative mode is the traffic.
            ways = [*of_the_cluster, of_the_registry] if kserve_mode == "Standard" else of_the_cluster[1:]
            turns = {turn % len(ways), (turn + 2) % len(ways)} if kserve_mode == "Standard" else {turn % len(ways)}
            for way in (way for number, way in enumerate(ways) if number in turns or way == often):
                yield pytest.param(kserve_mode, story, then, *way, marks=() if way == often else pytest.mark.long)


@pytest.mark.waits
@pytest.mark.parametrize(("world", "story", "then", "whose", "mode", "answer"), [*tries()], indirect=["world"])
def test_one_truth_is_left(world: World, story: str, then: str, whose: str, mode: str, answer: str) -> None:
    for write in count(1):
        where = f"write {write} of {story}"
        world.forget()
        steps, goal, undoing = STORIES[story](world)
        statuses = ANSWERS.get(answer, (0,))
        world.whose, world.answer = whose, statuses[write % len(statuses)]
        world.faults.arm(write, mode)
        left, error = run_until_it_fails(steps)
        hits = world.faults.hits
        world.faults.arm(None)
        world.k8s.faults.heal()
        if mode != "killed" and error is not None:
            assert isinstance(error, KubeflowProviderError), f"{where}: {error!r}"
            assert any(part in str(error) for part in ("InferenceService", "ControllerRevision", "cannot ")), where
        if error is not None and then == "is tried again":
            run(left)
        elif error is not None:
            run(undoing)
            goal = world.live
        assert world.says() == agree(goal), f"{where}: {error!r}"
        world.live = goal
        if not hits:
            break
    assert write > 2
