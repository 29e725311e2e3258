"""Releases under load: users notice nothing but the version."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.contracts.kinds.text_classifier import TextClassifierCandidate
from kubeflow_provider.services import ModelVersion
from model_releases.operators.deploy import DeployCandidateOperator
from model_releases.operators.promote import PromoteOperator
from model_releases.operators.smoke_test import SmokeTestOperator
from tests.serving_support import MODEL, FakeContext, Users, build_version, candidate_uri, connection_json, torchserve

pytestmark = pytest.mark.torchserve

CLIENTS = 8
VERSIONS = ("20260101000000", "20260102000000", "20260103000000")
REAL_MODEL = "tiny-reviews"


@pytest.fixture(scope="module")
def server(pipelines_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with (
        torchserve(pipelines_python, tmp_path_factory.mktemp("load")) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AIRFLOW_CONN_SERVING_TEST", connection_json(running.connection))
        yield running


@pytest.fixture(scope="module")
def real_candidates(server: SimpleNamespace, pipelines_python: str) -> list[TextClassifierCandidate]:
    """Three versions of a model as the pipeline half trains and packs them, with different weights."""
    command = [pipelines_python, "-m", "tests.real_package", str(server.store), REAL_MODEL, *VERSIONS]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    return [
        TextClassifierCandidate.parse(file.read_text(), where=str(file))
        for file in sorted((server.store / REAL_MODEL).glob("*/candidate.json"))
    ]


@pytest.fixture
def pause_seconds(pytestconfig: pytest.Config) -> float:
    """None where there is time for it: users without a pause take the processor from what they wait for."""
    return 0.0 if pytestconfig.getoption("--tier") == "all" else 0.1


def release(built: ModelVersion) -> None:
    common: dict[str, Any] = {
        "model": built.model,
        "version": built.version,
        "candidate_uri": candidate_uri(built),
        "serving_conn_id": "serving_test",
        "registry_conn_id": None,
    }
    context = FakeContext()
    DeployCandidateOperator(task_id="deploy", settings=built.settings, deferrable=False, **common).execute(context)
    SmokeTestOperator(task_id="smoke_test", max_latency_ms=10_000, **common).execute(context)
    PromoteOperator(task_id="promote", **common).execute(context)
    SmokeTestOperator(task_id="verify", through="endpoint", max_latency_ms=10_000, **common).execute(context)


def assert_versions_came_in_order(users: Users) -> None:
    for predictions in users.predictions():
        versions = [prediction["version"] for prediction in predictions]
        assert set(versions) == set(VERSIONS)
        assert versions == sorted(versions), "nobody goes back to an older version"


def test_two_releases_under_load_lose_no_request(server: SimpleNamespace, pause_seconds: float) -> None:
    release(build_version(server.store, VERSIONS[0]))
    with Users(server.hook.endpoint_url(MODEL), number=CLIENTS, pause_seconds=pause_seconds) as users:
        release(build_version(server.store, VERSIONS[1]))
        release(build_version(server.store, VERSIONS[2]))

    assert set(users.statuses) == {200}
    assert_versions_came_in_order(users)
    for predictions in users.predictions():
        for prediction in predictions:
            assert prediction["version"] == prediction["built_as"], "the code that answered"


@pytest.mark.long  # the two releases above tell it once
def test_many_releases_and_roll_backs_in_a_row_lose_no_request(server: SimpleNamespace, rounds: int) -> None:
    hook, model = server.hook, "often-released"
    live = build_version(server.store, "20260101000000", model=model)
    hook.deploy_candidate(live)
    hook.promote(model, live.version)
    with Users(hook.endpoint_url(model), number=2, pause_seconds=0.01) as users:
        for number in range(rounds):
            built = build_version(server.store, f"2026010200{number:02}00", model=model)
            hook.deploy_candidate(built)
            hook.promote(model, built.version)
            back = hook.roll_back(model, candidate=built.version, previous=live.version)
            assert back.version == hook.get_live(model).version == live.version

    assert set(users.statuses) == {200}
    assert {prediction["version"] for answers in users.predictions() for prediction in answers} > {live.version}
    assert [found.version for found in hook.status() if found.model == model] == [live.version]


@pytest.mark.long  # the two releases above tell it of a smaller package
def test_nor_do_two_releases_of_a_real_package_while_somebody_sends_bad_input(
    server: SimpleNamespace, real_candidates: list[TextClassifierCandidate], pause_seconds: float
) -> None:
    settings = {"workers": 1, "batch_size": CLIENTS, "max_batch_delay_ms": 20, "response_timeout_seconds": 60}
    first, *others = (
        ModelVersion(
            model=REAL_MODEL,
            version=candidate.version,
            archive_uri=candidate.archive.uri,
            archive_sha256=candidate.archive.sha256,
            settings=settings,
        )
        for candidate in real_candidates
    )
    example = real_candidates[0].golden_examples[0]
    good = json.dumps({"instances": [example.text]}).encode()
    bad = b'{"instances": ["", 1]}'
    url = server.hook.endpoint_url(REAL_MODEL)
    release(first)
    # The server joins their requests into batches, the bad ones too.
    with (
        Users(url, number=CLIENTS, body=good, pause_seconds=pause_seconds) as users,
        Users(url, number=1, body=bad, pause_seconds=pause_seconds) as careless,
    ):
        for built in others:
            release(built)

    assert set(users.statuses) == {200}
    assert set(careless.statuses) == {400}
    assert_versions_came_in_order(users)
    expected = {
        candidate.version: golden.probabilities
        for candidate in real_candidates
        for golden in candidate.golden_examples
        if golden.text == example.text
    }
    assert len({tuple(probabilities.values()) for probabilities in expected.values()}) == len(VERSIONS)
    for predictions in users.predictions():
        for prediction in predictions:
            assert prediction["probabilities"] == pytest.approx(expected[prediction["version"]], abs=1e-3)
