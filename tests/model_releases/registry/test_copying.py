from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.registry import copying
from model_releases.registry.copying import Copied, copy_releases
from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.model_registry import ModelRegistryHook
from model_releases.registry.service import RegistryService, Release
from tests.doubles.model_registry import ModelRegistry, model_registry

MODEL = "reviews"
VERSIONS = [f"2026010{day}000000" for day in range(1, 5)]


@pytest.fixture
def server() -> Iterator[ModelRegistry]:
    with model_registry() as server:
        yield server


@pytest.fixture
def other() -> Iterator[ModelRegistry]:
    with model_registry(versions=("v1alpha3",)) as server:
        yield server


def hook(server: ModelRegistry) -> ModelRegistryHook:
    return ModelRegistryHook(
        "r", connection=Connection(conn_id="r", conn_type="kubeflow_model_registry", host=server.url)
    )


def release_all(registry: RegistryService, *versions: str) -> None:
    """Release versions one after the other; the last one stays a candidate."""
    for version in versions:
        record = Release(
            model=MODEL,
            version=version,
            state=ReleaseState.CANDIDATE,
            archive_uri=f"s3://models/{version}",
            facts={"code_revision": "c0ffee"},
        )
        registry.register(record, metrics={"candidate.macro_f1": 0.9})
        if version != versions[-1]:
            registry.set_state(MODEL, version, ReleaseState.LIVE)


def record_of(registry: RegistryService) -> list[object]:
    found = [copying._plain(release) for release in registry.list_releases(MODEL, limit=100)]
    live, previous = registry.get_live(MODEL), registry.get_previous(MODEL)
    return [found, live and live.version, previous and previous.version]


def test_a_copy_says_what_the_original_says(
    server: ModelRegistry, other: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PAGE_SIZE", 3)
    release_all(hook(server), *VERSIONS)

    assert copy_releases(hook(server), hook(other), MODEL) == Copied(copied=4, there=0, live=VERSIONS[2])
    assert copy_releases(hook(server), hook(other), MODEL) == Copied(copied=0, there=4, live=VERSIONS[2])
    assert record_of(hook(other)) == record_of(hook(server))


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_whoever_broke_off_repeats_it(server: ModelRegistry, other: ModelRegistry, method: str) -> None:
    release_all(hook(server), *VERSIONS)
    other.fault("reset", method=method, skip=5 if method == "POST" else 0)
    with pytest.raises(ServiceUnavailableError):
        copy_releases(hook(server), hook(other), MODEL)
    copy_releases(hook(server), hook(other), MODEL)

    assert record_of(hook(other)) == record_of(hook(server))


def test_what_has_happened_since_is_brought_along(server: ModelRegistry, other: ModelRegistry) -> None:
    release_all(hook(server), *VERSIONS)
    copy_releases(hook(server), hook(other), MODEL)
    hook(server).set_state(MODEL, VERSIONS[2], ReleaseState.ROLLED_BACK, reason="slow")
    hook(server).add_facts(MODEL, VERSIONS[0], {"archive_deleted_at": "2026-02-01"})

    copy_releases(hook(server), hook(other), MODEL)

    assert record_of(hook(other)) == record_of(hook(server))


def test_a_registry_that_is_in_use_is_not_overwritten(
    server: ModelRegistry, other: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    release_all(hook(server), *VERSIONS[:2])
    copy_releases(hook(server), hook(other), MODEL)
    newer = hook(other).get_live(MODEL)
    assert newer is not None
    monkeypatch.setattr(copying, "_went_live", lambda release: "2" if release.version == VERSIONS[1] else "1")
    hook(other).set_state(MODEL, VERSIONS[1], ReleaseState.LIVE)

    with pytest.raises(InvalidRequestError, match="the target is in use"):
        copy_releases(hook(server), hook(other), MODEL)


@pytest.mark.long
def test_from_mlflow_and_back(server: ModelRegistry, empty_mlflow: Path, tmp_path: Path) -> None:
    def mlflow(name: str) -> MlflowHook:
        database = tmp_path / name
        if not database.exists():
            shutil.copy(empty_mlflow, database)
        extra = json.dumps({"tracking_uri": f"sqlite:///{database}"})
        return MlflowHook("m", connection=Connection(conn_id="m", conn_type="mlflow", extra=extra))

    release_all(mlflow("one.db"), *VERSIONS)
    copy_releases(mlflow("one.db"), hook(server), MODEL)
    copy_releases(hook(server), mlflow("two.db"), MODEL)

    assert record_of(mlflow("two.db")) == record_of(mlflow("one.db")) == record_of(hook(server))
