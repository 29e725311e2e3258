"""What every serving service promises, whatever it is built on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError
from kubeflow_provider.services import ModelVersion, ServingService
from kubeflow_provider.states import DeploymentState
from tests.serving_support import GOOD, build_version, torchserve

_MODELS = (f"model-{number}" for number in count())
_VERSIONS = (str(number) for number in count(20260101000000))


@dataclass
class World:
    """A service, and a model in it that nobody else uses."""

    service: ServingService
    store: Path
    model: str

    def build(self, behaviour: str = "") -> ModelVersion:
        """Publish another version."""
        return build_version(self.store, next(_VERSIONS), behaviour=behaviour, model=self.model)

    def release(self) -> str:
        """Bring another version live."""
        candidate = self.build()
        self.service.deploy_candidate(candidate)
        self.service.promote(self.model, candidate.version)
        return candidate.version

    def answering(self, version: str | None = None) -> Any:
        """Return the version that answers, or the status where none does."""
        answer = self.service.predict(self.model, GOOD, version=version)
        return answer.body["predictions"][0]["version"] if answer.status_code == 200 else answer.status_code


@pytest.fixture(scope="module", params=[pytest.param("torchserve", marks=pytest.mark.torchserve)])
def service(pipelines_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield each service with a folder to publish versions in."""
    with torchserve(pipelines_python, tmp_path_factory.mktemp("serving")) as running:
        yield running


@pytest.fixture
def world(service: Any) -> World:
    return World(service=service.hook, store=service.store, model=next(_MODELS))


def test_it_is_a_serving_service(world: World) -> None:
    assert isinstance(world.service, ServingService)


def test_a_model_that_was_never_released_is_unknown(world: World) -> None:
    assert world.service.get_live(world.model) is None
    assert world.service.get_previous(world.model) is None
    assert world.service.get_deployment(world.model, "20200101000000") is None


def test_the_first_candidate_answers_for_itself_and_not_for_users(world: World) -> None:
    first = world.build()
    deployment = world.service.deploy_candidate(first)
    assert (deployment.state, deployment.is_live) == (DeploymentState.READY, False)
    assert world.answering(first.version) == first.version
    assert world.answering() in (404, 503)
    assert world.service.get_live(world.model) is None


def test_a_candidate_gets_the_traffic_when_it_is_promoted(world: World) -> None:
    first = world.release()
    second = world.build()
    world.service.deploy_candidate(second)
    assert world.answering() == first
    live = world.service.promote(world.model, second.version)
    assert (live.version, live.is_live) == (second.version, True)
    assert world.answering() == second.version
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
        world.service.deploy_candidate(second)
    for _ in range(2):
        world.service.promote(world.model, second.version)
    assert world.service.deploy_candidate(second).is_live
    assert world.service.get_previous(world.model) == first


def test_a_version_that_cannot_load_fails_with_its_reason_and_harms_nothing(world: World) -> None:
    first = world.release()
    broken = world.build("does not load")
    deployment = world.service.deploy_candidate(broken)
    assert deployment.state is DeploymentState.FAILED
    assert "the weights do not fit the model" in (deployment.reason or "")
    assert world.answering() == first
    with pytest.raises(KubeflowProviderError, match=broken.version):
        world.service.promote(world.model, broken.version)
    assert world.answering() == first


def test_rolling_back_a_candidate_without_traffic_leaves_the_live_version(world: World) -> None:
    first = world.release()
    candidate = world.build()
    world.service.deploy_candidate(candidate)
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
    world.service.deploy_candidate(first)
    if is_promoted:
        world.service.promote(world.model, first.version)
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
