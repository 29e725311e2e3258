"""The smoke test as a task, on a real TorchServe."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.exceptions import DeploymentFailedError, InvalidRequestError
from kubeflow_provider.services import Deployment
from kubeflow_provider.states import DeploymentState
from model_releases.exceptions import CheckFailedError
from model_releases.operators import smoke_test
from model_releases.operators.smoke_test import SmokeTestOperator
from tests.serving_support import MODEL, FakeContext, build_version, candidate_uri, connection_json, torchserve
from tests.toy_package import TEXTS

FIRST, SECOND = "20260101000000", "20260102000000"


@pytest.fixture(scope="module")
def server(pipelines_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with torchserve(pipelines_python, tmp_path_factory.mktemp("serving")) as running:
        first = build_version(running.store, FIRST)
        running.hook.deploy_candidate(first)
        running.hook.promote(MODEL, FIRST)
        second = build_version(running.store, SECOND)
        running.hook.deploy_candidate(second)
        running.uris = {FIRST: candidate_uri(first), SECOND: candidate_uri(second)}
        yield running


def operator(uri: str, version: str = SECOND, **changes: Any) -> SmokeTestOperator:
    arguments = {"task_id": "smoke_test", "model": MODEL, "version": version, "candidate_uri": uri}
    return SmokeTestOperator(**(arguments | {"serving_conn_id": "serving_test", "patience_seconds": 0} | changes))


@pytest.mark.torchserve
def test_it_asks_the_candidate_or_the_endpoint(
    server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: list[Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SERVING_TEST", connection_json(server.connection))
    with caplog.at_level(logging.INFO):
        # Templates render numbers as text.
        operator(server.uris[SECOND], max_latency_ms="5000").execute(FakeContext())
    assert not [text for text in TEXTS if text in caplog.text]
    operator(server.uris[FIRST], FIRST, through="endpoint", max_latency_ms=5000).execute(FakeContext())
    with pytest.raises(CheckFailedError) as caught:
        operator(server.uris[SECOND], through="endpoint").execute(FakeContext())
    ((name, _, tags),) = told
    assert (name, tags) == (
        "model_release.smoke_test_failed_timestamp_seconds",
        {"model": MODEL, "through": "endpoint"},
    )
    assert SECOND in caught.value.expected
    assert caught.value.got == FIRST


def test_a_candidate_without_golden_examples_is_refused(tmp_path: Path) -> None:
    version = build_version(tmp_path, FIRST)
    path = tmp_path / MODEL / FIRST / "candidate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"golden_examples": []}))
    with pytest.raises(InvalidRequestError, match="golden_examples: List should have at least 1 item"):
        operator(candidate_uri(version), FIRST).execute(FakeContext())


READY, PENDING, FAILED = (
    Deployment(model=MODEL, version=FIRST, state=state, reason="it sleeps")
    for state in (DeploymentState.READY, DeploymentState.PENDING, DeploymentState.FAILED)
)


@pytest.mark.parametrize(
    ("seen", "refusal"),
    [([READY], None), ([PENDING, PENDING, READY], None), ([None], None), ([PENDING, FAILED], "it sleeps")],
)
def test_a_version_that_sleeps_or_lost_its_pods_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, seen: list[Deployment | None], refusal: str | None
) -> None:
    monkeypatch.setattr(smoke_test, "_POLL_SECONDS", 0)
    states = iter(seen)
    service = SimpleNamespace(get_deployment=lambda model, version: next(states))
    with pytest.raises(DeploymentFailedError, match=refusal) if refusal else contextlib.nullcontext():
        operator("file:///x", FIRST)._wake(service)  # type: ignore[arg-type]
    assert list(states) == []


def test_the_way_must_be_known() -> None:
    with pytest.raises(ValueError, match="through"):
        operator("file:///x", through="canary")
