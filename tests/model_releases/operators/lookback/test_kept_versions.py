"""Which versions are asked, and whose rows they answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.contracts.registry_tags import ReleaseState
from model_releases.operators.lookback.kept_versions import KeptVersionsOperator
from model_releases.registry.service import Release
from model_releases.rules.retention import ARCHIVE_DELETED_AT

VERSIONS = [f"202401{day:02}000000" for day in range(1, 7)]


def register(registry: Any, version: str, state: ReleaseState, **facts: str) -> None:
    own = {"dataset_uri": f"s3://m/{version}/dataset.json", "archive_sha256": "a" * 64} | facts
    release = Release(
        model="reviews",
        version=version,
        state=ReleaseState.CANDIDATE,
        archive_uri=f"s3://m/{version}/package",
        facts=own,
    )
    registry.register(release, metrics={"f1": 0.9})
    registry.set_state("reviews", version, state)


def found(**settings: Any) -> dict[str, str]:
    return KeptVersionsOperator(task_id="versions", model="reviews", **settings).execute({})  # type: ignore[typeddict-item]


def test_the_newest_that_were_live_and_are_kept_answer_the_newest_rows(registry: Any) -> None:
    for version in VERSIONS[:4]:
        register(registry, version, ReleaseState.LIVE)
    registry.add_facts("reviews", VERSIONS[2], {ARCHIVE_DELETED_AT: "2024-02-01T00:00:00+00:00"})
    register(registry, VERSIONS[4], ReleaseState.REJECTED)

    asked = found()
    assert json.loads(asked["versions"]) == [
        {
            "version": version,
            "archive_uri": f"s3://m/{version}/package",
            "archive_sha256": "a" * 64,
            "dataset_uri": f"s3://m/{version}/dataset.json",
        }
        for version in (VERSIONS[3], VERSIONS[1], VERSIONS[0])
    ]
    assert asked["rows_uri"] == f"s3://m/{VERSIONS[4]}/dataset.json"
    assert [each["version"] for each in json.loads(found(most="2")["versions"])] == [VERSIONS[3], VERSIONS[1]]


def test_with_one_version_there_is_no_age(registry: Any) -> None:
    with pytest.raises(AirflowSkipException, match="has 0 version"):
        found()
    register(registry, VERSIONS[0], ReleaseState.LIVE)
    register(registry, VERSIONS[1], ReleaseState.REJECTED)
    with pytest.raises(AirflowSkipException, match="has 1 version"):
        found()
