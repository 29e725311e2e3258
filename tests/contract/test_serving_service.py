"""What every serving service promises, whatever it is built on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError, ServiceUnavailableError
from kubeflow_provider.hooks.kserve import KServeHook
from kubeflow_provider.services import Deployment, ModelVersion, ServingService
from kubeflow_provider.states import DeploymentState
from local_services.version_servers.hook import VersionServersHook
from tests.captured import versions
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.kserve_support import forget_model, kserve, real_kserve
from tests.local_kserve_support import local_kserve
from tests.native_support import build_native_version, local_native, native_service
from tests.quick_local_kserve import quick_local_kserve
from tests.quick_torchserve import Server, quick_hook
from tests.serving_support import GOOD, build_version, torchserve

_MODELS = (f"model-{number}" for number in count())
_VERSIONS = (str(number) for number in count(20260101000000))

#: A real cluster pulls images.
_LONGEST_WAIT_SECONDS = 600


@dataclass
class World:
    """A service, and a model in it that nobody else uses.

    :param build_in: publishes a version of a model with a behaviour.
    :param broken: what the reason says of a version that cannot be loaded.
    :param named: the version that a prediction names.
    :param keeps_previous_loaded: whether the version before answers on after a promotion, when asked by name.
    :param forget: takes a model away, where one that nobody needs any more costs something.
    """

    service: Any
    build_in: Callable[[str, str, str], ModelVersion]
    keeps_previous_loaded: bool
    forget: Callable[[str], None] = lambda model: None
    model: str = ""
    broken: str = "the weights do not fit the model"
    named: Callable[[Any], str] = lambda prediction: prediction["version"]

    def build(self, behaviour: str = "sound") -> ModelVersion:
        """Publish another version."""
        return self.build_in(self.model, next(_VERSIONS), behaviour)

    def deploy(self, candidate: ModelVersion) -> Deployment:
        """Bring a candidate up, and wait for it as an operator does."""
        return self.settled(self.service.deploy_candidate(candidate))

    def promote(self, version: str) -> Deployment:
        """Bring a version live, and wait for it."""
        return self.settled(self.service.promote(self.model, version))

    def shift(self, version: str, percent: int) -> Deployment:
        """Give a version a part of the traffic, and wait for it."""
        return self.settled(self.service.shift_traffic(self.model, version, percent))

    def settled(self, deployment: Deployment) -> Deployment:
        """Wait until a deployment is READY or FAILED."""
        deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
        while not deployment.state.is_terminal:
            assert time.monotonic() < deadline, deployment.reason
            time.sleep(0.1)
            found = self.service.get_deployment(deployment.model, deployment.version)
            assert found is not None
            deployment = found
        return deployment

    def release(self) -> str:
        """Bring another version live."""
        candidate = self.build()
        assert self.deploy(candidate).state is DeploymentState.READY
        assert self.promote(candidate.version).state is DeploymentState.READY
        return candidate.version

    def answering(self, version: str | None = None) -> Any:
        """Return the version that answers, or the status where none does."""
        try:
            answer = self.service.predict(self.model, GOOD, version=version)
        except ServiceUnavailableError:
            return 503
        return self.named(answer.body["predictions"][0]) if answer.status_code == 200 else answer.status_code


@contextmanager
def _on_torchserve(python: str, folder: Path) -> Iterator[World]:
    with torchserve(python, folder) as running:

        def build(model: str, version: str, behaviour: str) -> ModelVersion:
            return build_version(running.store, version, behaviour=behaviour, model=model)

        yield World(service=running.hook, build_in=build, keeps_previous_loaded=True)


@contextmanager
def _on_torchserve_without_its_process(folder: Path) -> Iterator[World]:
    server = Server()

    def build(model: str, version: str, behaviour: str) -> ModelVersion:
        if behaviour == "does not load":
            server.broken[version] = "the weights do not fit the model"
        return build_version(folder / "store", version, behaviour=behaviour, model=model)

    with pytest.MonkeyPatch.context() as patch:
        yield World(service=quick_hook(patch, folder / "state", server), build_in=build, keeps_previous_loaded=True)


@contextmanager
def _on_local_kserve_without_processes(folder: Path) -> Iterator[World]:
    hook, build = quick_local_kserve(folder)
    yield World(service=hook, build_in=build, keeps_previous_loaded=True, broken="not a zip file", named=str)


@contextmanager
def _on_local_kserve(python: str, folder: Path) -> Iterator[World]:
    with local_kserve(python, folder) as running:

        def build(model: str, version: str, behaviour: str) -> ModelVersion:
            return running.build(version, model=model, behaviour=behaviour)

        def forget(model: str) -> None:  # each version is a process
            _forget_all(running.hook, model)

        yield World(
            service=running.hook,
            build_in=build,
            keeps_previous_loaded=True,
            forget=forget,
            broken="not a zip file",
            named=str,
        )


@contextmanager
def _on_native(python: str, folder: Path, *, as_service: bool = False) -> Iterator[World]:
    with (native_service if as_service else local_native)(python, folder) as running:

        def build(model: str, version: str, behaviour: str) -> ModelVersion:
            return build_native_version(running.store, version, model=model, behaviour=behaviour)

        def forget(model: str) -> None:  # each version is a process
            _forget_all(running.hook, model)

        yield World(service=running.hook, build_in=build, keeps_previous_loaded=True, forget=forget)


def _forget_all(hook: VersionServersHook, model: str) -> None:
    live = hook.get_live(model)
    if live:
        hook.roll_back(model, candidate=live.version, previous=None)
    for version in hook._record.model(model).versions:
        if version != hook._record.model(model).live:
            hook.remove(model, version)


@contextmanager
def _on_kserve(folder: Path, **settings: Any) -> Iterator[World]:
    with kserve(folder, settings=KServeSettings(**settings)) as running:
        yield _kserve_world(running.hook, running.build)


@contextmanager
def _on_real_kserve() -> Iterator[World]:
    yield _kserve_world(*real_kserve())


def _kserve_world(hook: KServeHook, build: Callable[[str, str, str], ModelVersion]) -> World:
    forget = partial(forget_model, hook)
    return World(service=hook, build_in=build, keeps_previous_loaded=False, forget=forget)


#: What is told here of each version is told with a table for its server in every run; the server itself is tried in
#: tests/local_services/torchserve, and with whole releases.
TORCHSERVE = pytest.param("torchserve", marks=[pytest.mark.torchserve, pytest.mark.long])
QUICK_TORCHSERVE = "torchserve without its process"
#: Each version is a process that takes seconds to start; test_processes.py has the essential part in every run.
LOCAL_KSERVE = pytest.param("KServe's own server", marks=[pytest.mark.processes, pytest.mark.long])
NATIVE = pytest.param("the native server", marks=[pytest.mark.processes, pytest.mark.long])
NATIVE_SERVICE = pytest.param("a service of native servers", marks=[pytest.mark.processes, pytest.mark.long])
QUICK_LOCAL_KSERVE = "KServe's own server without its processes"
KNATIVE = pytest.param("kserve in Knative mode", marks=pytest.mark.waits)
#: Each version whose answers were recorded, named with its mode.
RECORDED = [pytest.param(name, marks=pytest.mark.waits) for name in versions("kserve")]
REAL = pytest.param(
    "kserve in a real cluster",
    marks=pytest.mark.skipif(not os.environ.get("KSERVE_KUBECONFIG"), reason="KSERVE_KUBECONFIG is not set"),
)


def only(*services: Any) -> pytest.MarkDecorator:
    """Run a test with the services that promise what it is about, and leave the others out."""
    return pytest.mark.parametrize("service", services, indirect=True)


@pytest.fixture(
    scope="module",
    params=[
        TORCHSERVE,
        QUICK_TORCHSERVE,
        QUICK_LOCAL_KSERVE,
        LOCAL_KSERVE,
        NATIVE,
        NATIVE_SERVICE,
        KNATIVE,
        *RECORDED,
        REAL,
    ],
)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Yield each service with a way to publish versions for it."""
    folder = tmp_path_factory.mktemp("serving")
    worlds = {
        "torchserve": lambda: _on_torchserve(request.getfixturevalue("pipelines_python"), folder),
        QUICK_TORCHSERVE: lambda: _on_torchserve_without_its_process(folder),
        QUICK_LOCAL_KSERVE: lambda: _on_local_kserve_without_processes(folder),
        "the native server": lambda: _on_native(request.getfixturevalue("pipelines_python"), folder),
        "a service of native servers": lambda: _on_native(
            request.getfixturevalue("pipelines_python"), folder, as_service=True
        ),
        "KServe's own server": lambda: _on_local_kserve(request.getfixturevalue("kserve_python"), folder),
        "kserve in Knative mode": lambda: _on_kserve(folder, default_mode="Serverless"),
        "kserve in a real cluster": _on_real_kserve,
    }
    number, _, mode = request.param.partition("-")
    recorded = lambda: _on_kserve(folder, version=number, default_mode=mode.capitalize())  # noqa: E731
    with worlds.get(request.param, recorded)() as running:
        yield running


@pytest.fixture
def world(service: World) -> Iterator[World]:
    model = next(_MODELS)
    yield replace(service, model=model)
    service.forget(model)


def test_it_is_a_serving_service(world: World) -> None:
    assert isinstance(world.service, ServingService)


def test_a_model_that_was_never_released_is_unknown(world: World) -> None:
    assert world.service.get_live(world.model) is None
    assert world.service.get_previous(world.model) is None
    assert world.service.get_deployment(world.model, "20200101000000") is None


def test_the_first_candidate_answers_for_itself_and_not_for_users(world: World) -> None:
    first = world.build()
    deployment = world.deploy(first)
    assert (deployment.state, deployment.is_live) == (DeploymentState.READY, False)
    assert world.answering(first.version) == first.version
    assert world.answering() in (404, 503)
    assert world.service.get_live(world.model) is None


def test_a_candidate_gets_the_traffic_when_it_is_promoted(world: World) -> None:
    first = world.release()
    second = world.build()
    world.deploy(second)
    assert world.answering() == first
    live = world.promote(second.version)
    assert (live.version, live.is_live) == (second.version, True)
    assert world.answering() == second.version
    if world.keeps_previous_loaded:
        assert world.answering(first) == first, "the previous version stays warm"
    assert world.service.get_previous(world.model) == first


async def test_a_deployment_can_be_asked_for_without_blocking(world: World) -> None:
    version = world.release()
    deployment = await world.service.aget_deployment(world.model, version)
    assert deployment is not None
    assert deployment == world.service.get_deployment(world.model, version)


def test_deploying_and_promoting_twice_changes_nothing(world: World) -> None:
    first = world.release()
    second = world.build()
    for _ in range(2):
        world.deploy(second)
    for _ in range(2):
        world.promote(second.version)
    assert world.service.deploy_candidate(second).is_live
    assert world.service.get_previous(world.model) == first


def test_a_version_that_cannot_load_fails_with_its_reason_and_harms_nothing(world: World) -> None:
    first = world.release()
    broken = world.build("does not load")
    deployment = world.deploy(broken)
    assert deployment.state is DeploymentState.FAILED
    assert world.broken in (deployment.reason or "")
    assert world.answering() == first
    with pytest.raises(KubeflowProviderError, match=broken.version):
        world.service.promote(world.model, broken.version)
    assert world.answering() == first


def test_rolling_back_a_candidate_without_traffic_leaves_the_live_version(world: World) -> None:
    first = world.release()
    candidate = world.build()
    world.deploy(candidate)
    for _ in range(2):
        live = world.service.roll_back(world.model, candidate=candidate.version, previous=first)
        assert live is not None
        assert live.version == first
    assert world.answering() == first
    assert world.service.get_deployment(world.model, candidate.version) is None


def test_rolling_back_a_candidate_that_went_live_puts_the_previous_version_back(world: World) -> None:
    first, second = world.release(), world.release()
    for _ in range(2):
        live = world.service.roll_back(world.model, candidate=second, previous=first)
        assert live is not None
        assert live.version == first
    assert world.answering() == first
    assert world.service.get_deployment(world.model, second) is None


def test_rolling_back_knows_the_previous_version_where_the_caller_does_not(world: World) -> None:
    first, second = world.release(), world.release()
    live = world.service.roll_back(world.model, candidate=second, previous=None)
    assert live is not None
    assert live.version == first


def test_a_late_roll_back_does_not_undo_a_later_release(world: World) -> None:
    first, second, third = world.release(), world.release(), world.release()
    live = world.service.roll_back(world.model, candidate=second, previous=first)
    assert live is not None
    assert live.version == world.answering() == third
    assert world.service.get_deployment(world.model, second) is None
    assert world.service.get_previous(world.model) is None


def test_rolling_back_before_anything_was_deployed_changes_nothing(world: World) -> None:
    first = world.release()
    world.service.roll_back(world.model, candidate="20300101000000", previous=first)
    assert world.answering() == first


@pytest.mark.parametrize("is_promoted", [False, True])
def test_rolling_back_the_first_release_leaves_nothing(world: World, is_promoted: bool) -> None:
    first = world.build()
    world.deploy(first)
    if is_promoted:
        world.promote(first.version)
    for _ in range(2):
        assert world.service.roll_back(world.model, candidate=first.version, previous=None) is None
    assert world.service.get_live(world.model) is None
    assert world.answering() in (404, 503)


def test_a_release_works_after_a_roll_back(world: World) -> None:
    first, second = world.release(), world.release()
    world.service.roll_back(world.model, candidate=second, previous=first)
    third = world.release()
    assert world.answering() == third
    assert world.service.get_previous(world.model) == first


def test_a_version_that_is_not_live_can_be_removed(world: World) -> None:
    first, second = world.release(), world.release()
    for _ in range(2):
        world.service.remove(world.model, first)
    assert world.service.get_deployment(world.model, first) is None
    assert world.service.get_previous(world.model) is None
    with pytest.raises(InvalidRequestError, match="live"):
        world.service.remove(world.model, second)
    assert world.answering() == second


def test_an_error_status_is_an_answer(world: World) -> None:
    world.release()
    answer = world.service.predict(world.model, b"{")
    assert answer.status_code == 400
    assert answer.latency_ms > 0


def test_the_traffic_can_be_looked_at(world: World) -> None:
    assert world.service.get_traffic(world.model) == {}
    first = world.release()
    assert world.service.get_traffic(world.model) == {first: 100}
    second = world.release()
    assert world.service.get_traffic(world.model) == {second: 100}
    world.service.roll_back(world.model, candidate=second, previous=first)
    assert world.service.get_traffic(world.model) == {first: 100}


def test_a_part_of_the_traffic_is_given_or_refused(world: World) -> None:
    first = world.release()
    second = world.build()
    world.deploy(second)
    if not world.service.can_split_traffic(world.model):
        with pytest.raises(InvalidRequestError, match=second.version):
            world.service.shift_traffic(world.model, second.version, 10)
        assert world.answering() == first
        return
    for percent in (20, 60):
        for _ in range(2):
            split = world.shift(second.version, percent)
        assert (split.state, split.is_live) == (DeploymentState.READY, False)
        answers = Counter(world.answering() for _ in range(50))
        assert answers.keys() == {first, second.version}
        assert answers[second.version] == pytest.approx(percent / 2, abs=10)
        shares = world.service.get_traffic(world.model)
        assert list(shares.items()) == [(first, 100 - percent), (second.version, percent)]
        live = world.service.get_live(world.model)
        assert live is not None
        assert live.version == first
        with pytest.raises(InvalidRequestError, match="live"):
            world.service.remove(world.model, second.version)
    assert world.shift(second.version, 100).is_live
    assert {world.answering() for _ in range(20)} == {second.version}
    assert world.service.get_previous(world.model) == first
    assert world.shift(second.version, 20).is_live, "a step that is repeated late takes nothing away"


@only(KNATIVE, REAL)
def test_rolling_back_in_the_middle_of_the_steps_gives_the_live_version_everything(world: World) -> None:
    first = world.release()
    second = world.build()
    world.deploy(second)
    if not world.service.can_split_traffic(world.model):
        pytest.skip("this cluster is in Standard mode, which gives all of the traffic or nothing")
    world.shift(second.version, 50)
    for _ in range(2):
        live = world.service.roll_back(world.model, candidate=second.version, previous=first)
        assert live is not None
        assert (live.version, live.state) == (first, DeploymentState.READY)
    assert {world.answering() for _ in range(20)} == {first}
    assert world.service.get_deployment(world.model, second.version) is None
    third = world.release()
    assert world.answering() == third


def test_the_first_version_cannot_be_given_a_part(world: World) -> None:
    first = world.build()
    world.deploy(first)
    assert not world.service.can_split_traffic(world.model)
    with pytest.raises(InvalidRequestError, match=first.version):
        world.service.shift_traffic(world.model, first.version, 10)
    assert world.service.get_live(world.model) is None


@only(TORCHSERVE, QUICK_TORCHSERVE)  # elsewhere the pod that serves an archive checks it: test_module_pod.py
def test_the_archive_must_be_the_one_that_was_announced(world: World) -> None:
    candidate = world.build()
    path = Path(candidate.archive_uri.removeprefix("file://")) / "model-store" / f"{world.model}.mar"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InvalidRequestError, match="SHA-256"):
        world.service.deploy_candidate(candidate)
    assert world.service.get_deployment(world.model, candidate.version) is None


def test_the_connection_can_be_tested(world: World) -> None:
    is_ok, message = world.service.test_connection()
    assert is_ok, message
