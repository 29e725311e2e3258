"""What every registry must do, whichever it is: the tests run once for each service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.model_registry import ModelRegistryHook
from model_releases.registry.service import RegistryService, Release
from tests.doubles.model_registry import model_registry

MODEL = "reviews"
FIRST, SECOND, THIRD = "20260101000000", "20260102000000", "20260103000000"


def mlflow_on_a_file(folder: Path) -> MlflowHook:
    """Connect to a file; the folders above it do not exist, and neither does it."""
    extra = {"tracking_uri": f"sqlite:///{folder}/made/by/the/hook/mlflow.db"}
    return MlflowHook(
        "registry", connection=Connection(conn_id="registry", conn_type="mlflow", extra=json.dumps(extra))
    )


def model_registry_at(url: str) -> ModelRegistryHook:
    """Connect to a server; each one is another connection, as the API's version is remembered for each."""
    return ModelRegistryHook(
        "registry", connection=Connection(conn_id="registry", conn_type="kubeflow_model_registry", host=url)
    )


#: Service -> versions of the API that its server has, where it is a Kubeflow Model Registry.
SERVICES: dict[str, tuple[str, ...]] = {
    "mlflow": (),
    "model registry, v1": ("v1", "v1alpha3"),
    "model registry, v1alpha3": ("v1alpha3",),
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that returns MLflow's folder as it is after its first use, which takes seconds to make."""

    @cache
    def make() -> Path:
        folder = tmp_path_factory.mktemp("mlflow")
        assert list(mlflow_on_a_file(folder).list_releases(MODEL)) == []
        return folder

    return make


@pytest.fixture(
    params=["mlflow", "model registry, v1", pytest.param("model registry, v1alpha3", marks=pytest.mark.long)]
)
def connect(
    request: pytest.FixtureRequest, tmp_path: Path, empty: Callable[[], Path]
) -> Iterator[Callable[[], RegistryService]]:
    """Return a function that connects once more, as another process would."""
    if versions := SERVICES[request.param]:
        with model_registry(versions=versions) as server:
            yield lambda: model_registry_at(server.url)
    else:
        shutil.copytree(empty(), tmp_path, dirs_exist_ok=True)
        yield lambda: mlflow_on_a_file(tmp_path)


@pytest.fixture
def registry(connect: Callable[[], RegistryService]) -> RegistryService:
    return connect()


def release(version: str, state: ReleaseState = ReleaseState.CANDIDATE, **facts: str) -> Release:
    return Release(model=MODEL, version=version, state=state, archive_uri=f"s3://models/{version}", facts=facts)


def states(registry: RegistryService) -> dict[str, ReleaseState]:
    return {entry.version: entry.state for entry in registry.list_releases(MODEL)}


def test_it_is_a_registry_service(registry: RegistryService) -> None:
    assert isinstance(registry, RegistryService)
    assert registry.test_connection()[0] is True


def test_an_unknown_model_has_no_releases(registry: RegistryService) -> None:
    assert registry.get_release(MODEL, FIRST) is None
    assert registry.get_live(MODEL) is None
    assert list(registry.list_releases(MODEL)) == []
    assert registry.release_url(MODEL, FIRST) is None


def test_what_pipelines_have_made_is_found_whatever_the_model(registry: RegistryService) -> None:
    for model, version, trigger in (("a", FIRST, "pipeline"), ("b", SECOND, "pipeline"), ("b", THIRD, "manual")):
        made = replace(release(version, trigger=trigger), model=model)
        registry.register(made, metrics={})
    found = registry.list_made_by_pipelines()
    assert [(entry.model, entry.version) for entry in found] == [("b", SECOND), ("a", FIRST)]
    assert len(registry.list_made_by_pipelines(limit=1)) == 1


def test_what_was_registered_can_be_read_by_another_process(
    registry: RegistryService, connect: Callable[[], RegistryService]
) -> None:
    given = Release(
        model=MODEL,
        version=FIRST,
        state=ReleaseState.CANDIDATE,
        archive_uri="file:///store/reviews/1",
        reason="accepted: macro F1 0.9312",
        facts={"dataset_sha256": "ab" * 32, "base_model": "hub/encoder-base", "dag_run_id": "manual__2026-01-01T00:00"},
    )
    registered = registry.register(given, metrics={"candidate.macro_f1": 0.9312, "candidate.accuracy": 1.0})
    assert connect().get_release(MODEL, FIRST) == registered
    assert (registered.state, registered.reason) == (given.state, given.reason)
    assert registered.archive_uri == given.archive_uri
    assert registered.facts == {
        **given.facts,
        "metric.candidate.macro_f1": "0.9312",
        "metric.candidate.accuracy": "1.0",
    }


def test_registering_again_updates_the_one_that_is_there(registry: RegistryService) -> None:
    registry.register(release(FIRST, ReleaseState.REGISTERED, dag_run_id="a", code_revision="c0ffee"), metrics={})
    registry.register(release(FIRST, ReleaseState.CANDIDATE, dag_run_id="b"), metrics={})
    assert states(registry) == {FIRST: ReleaseState.CANDIDATE}
    entry = registry.get_release(MODEL, FIRST)
    assert entry is not None
    assert entry.facts == {"dag_run_id": "b", "code_revision": "c0ffee"}


def test_a_version_never_changes_its_archive(registry: RegistryService) -> None:
    registry.register(release(FIRST), metrics={})
    other = Release(model=MODEL, version=FIRST, state=ReleaseState.CANDIDATE, archive_uri="s3://models/other")
    with pytest.raises(InvalidRequestError, match="another archive"):
        registry.register(other, metrics={})


@pytest.mark.parametrize("state", [ReleaseState.LIVE, ReleaseState.RETIRED, ReleaseState.ROLLED_BACK])
def test_registering_a_version_again_that_has_been_live_leaves_its_state(
    registry: RegistryService, state: ReleaseState
) -> None:
    registry.register(release(FIRST), metrics={})
    registry.set_state(MODEL, FIRST, state)
    registry.register(release(FIRST), metrics={})
    assert states(registry) == {FIRST: state}


def test_going_live_retires_the_one_before(registry: RegistryService) -> None:
    for version in (FIRST, SECOND, THIRD):
        registry.register(release(version), metrics={})
    for version in (FIRST, SECOND, SECOND):  # repeated, as a retry would
        registry.set_state(MODEL, version, ReleaseState.LIVE)
    assert states(registry) == {
        THIRD: ReleaseState.CANDIDATE,
        SECOND: ReleaseState.LIVE,
        FIRST: ReleaseState.RETIRED,
    }
    live = registry.get_live(MODEL)
    assert live is not None
    assert live.version == SECOND


@pytest.mark.parametrize("state", [ReleaseState.ROLLED_BACK, ReleaseState.FAILED])
def test_a_live_version_that_leaves_hands_back_to_the_previous(registry: RegistryService, state: ReleaseState) -> None:
    for version in (FIRST, SECOND):
        registry.register(release(version), metrics={})
        registry.set_state(MODEL, version, ReleaseState.LIVE)
    for _ in range(2):
        registry.set_state(MODEL, SECOND, state, reason="verify: latency")
    assert states(registry) == {SECOND: state, FIRST: ReleaseState.LIVE}
    live = registry.get_live(MODEL)
    assert live is not None
    assert live.version == FIRST
    left = registry.get_release(MODEL, SECOND)
    assert left is not None
    assert left.reason == "verify: latency"


def test_an_earlier_release_can_be_put_back_by_hand(registry: RegistryService) -> None:
    for version in (FIRST, SECOND):
        registry.register(release(version), metrics={})
        registry.set_state(MODEL, version, ReleaseState.LIVE)
    registry.set_state(MODEL, FIRST, ReleaseState.LIVE)
    registry.set_state(MODEL, SECOND, ReleaseState.ROLLED_BACK)
    assert states(registry) == {SECOND: ReleaseState.ROLLED_BACK, FIRST: ReleaseState.LIVE}


def test_the_only_release_that_fails_leaves_nothing_live(registry: RegistryService) -> None:
    registry.register(release(FIRST), metrics={})
    registry.set_state(MODEL, FIRST, ReleaseState.LIVE)
    registry.set_state(MODEL, FIRST, ReleaseState.FAILED)
    assert registry.get_live(MODEL) is None


def test_a_version_that_was_never_registered_may_fail_but_not_go_live(registry: RegistryService) -> None:
    registry.set_state(MODEL, FIRST, ReleaseState.FAILED)
    registry.set_state(MODEL, FIRST, ReleaseState.ROLLED_BACK)
    assert states(registry) == {}
    with pytest.raises(InvalidRequestError, match="never registered"):
        registry.set_state(MODEL, FIRST, ReleaseState.LIVE)


def test_the_newest_come_first_and_no_more_than_asked_for(registry: RegistryService) -> None:
    for version in (FIRST, SECOND, THIRD):
        registry.register(release(version), metrics={})
    assert [entry.version for entry in registry.list_releases(MODEL, limit=2)] == [THIRD, SECOND]


def test_the_releases_of_one_state_and_those_before_another_can_be_asked_for(registry: RegistryService) -> None:
    for version in (FIRST, SECOND, THIRD):
        registry.register(release(version), metrics={})
    registry.set_state(MODEL, SECOND, ReleaseState.REJECTED)

    def versions(**condition: Any) -> list[str]:
        return [entry.version for entry in registry.list_releases(MODEL, **condition)]

    assert versions(before=THIRD) == [SECOND, FIRST]
    assert versions(before=THIRD, limit=1) == [SECOND]
    assert versions(before=FIRST) == []
    assert versions(state=ReleaseState.CANDIDATE) == [THIRD, FIRST]
    assert versions(state=ReleaseState.CANDIDATE, before=THIRD) == [FIRST]
    assert versions(state=ReleaseState.LIVE) == []
    with pytest.raises(InvalidRequestError, match="never registered"):
        versions(before="20200101000000")


def test_models_are_kept_apart(registry: RegistryService) -> None:
    registry.register(release(FIRST), metrics={})
    registry.set_state(MODEL, FIRST, ReleaseState.LIVE)
    assert registry.get_live("other") is None
    assert list(registry.list_releases("other")) == []


def test_facts_are_added_and_overwritten(registry: RegistryService) -> None:
    registry.register(release(FIRST, base_model="scratch", code_revision="a"), metrics={})
    for _ in range(2):
        registry.add_facts(MODEL, FIRST, {"code_revision": "b", "approved_by": "ada"})
    found = registry.get_release(MODEL, FIRST)
    assert found is not None
    assert found.facts == {"base_model": "scratch", "code_revision": "b", "approved_by": "ada"}
    with pytest.raises(InvalidRequestError, match="never registered"):
        registry.add_facts(MODEL, SECOND, {"approved_by": "ada"})


def test_a_release_knows_when_it_entered_its_states(registry: RegistryService) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    registry.register(release(FIRST), metrics={})
    registry.set_state(MODEL, FIRST, ReleaseState.LIVE)
    found = registry.get_release(MODEL, FIRST)
    assert found is not None
    assert set(found.times) == {ReleaseState.CANDIDATE, ReleaseState.LIVE}
    assert all(before <= datetime.fromisoformat(time) <= datetime.now(UTC) for time in found.times.values())


def test_an_empty_fact_is_as_good_as_none(registry: RegistryService) -> None:
    registry.register(release(FIRST, archive_deleted_at="2026-01-01"), metrics={})
    registry.add_facts(MODEL, FIRST, {"archive_deleted_at": ""})
    found = registry.get_release(MODEL, FIRST)
    assert found is not None
    assert not found.facts.get("archive_deleted_at")


def test_what_another_registry_has_is_entered_as_it_is(registry: RegistryService) -> None:
    records = [
        Release(
            model=MODEL,
            version=version,
            state=state,
            archive_uri=f"s3://models/{version}",
            reason="replaced" if state is ReleaseState.RETIRED else "",
            facts={"code_revision": "c0ffee", "metric.candidate.macro_f1": "0.9"},
            times={ReleaseState.CANDIDATE: "2026-01-01T00:00:00+00:00", state: "2026-01-02T00:00:00+00:00"},
        )
        for version, state in ((FIRST, ReleaseState.RETIRED), (SECOND, ReleaseState.LIVE))
    ]
    for _ in range(2):
        for record in records:
            registry.restore(record)
        registry.restore_live(MODEL, live=SECOND, previous=FIRST)
    found = [replace(entry, url=None) for entry in registry.list_releases(MODEL)]
    assert found == list(reversed(records))
    live, previous = registry.get_live(MODEL), registry.get_previous(MODEL)
    assert (live and live.version, previous and previous.version) == (SECOND, FIRST)
    registry.restore_live(MODEL, live=None, previous=None)
    assert registry.get_live(MODEL) is registry.get_previous(MODEL) is None
