"""Releases under load: users notice nothing but the version."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from kubeflow_provider.operators.serving import DeployCandidateOperator, PromoteOperator
from kubeflow_provider.operators.smoke_test import SmokeTestOperator
from tests.serving_support import GOOD, MODEL, FakeContext, build_version, candidate_uri, connection_json, torchserve

pytestmark = pytest.mark.torchserve

CLIENTS = 8
VERSIONS = ("20260101000000", "20260102000000", "20260103000000")


@pytest.fixture
def server(pipelines_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    with torchserve(pipelines_python, tmp_path) as running:
        monkeypatch.setenv("AIRFLOW_CONN_SERVING_TEST", connection_json(running.connection))
        yield running


class Clients:
    """Users who ask again and again, each over a connection of its own, until the block ends."""

    def __init__(self, url: str) -> None:
        self.answers: list[list[httpx.Response | str]] = [[] for _ in range(CLIENTS)]
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(answers,)) for answers in self.answers]

    def _ask(self, answers: list[httpx.Response | str]) -> None:
        with httpx.Client(trust_env=False, headers={"Content-Type": "application/json"}, timeout=30) as client:
            while not self._stop.is_set():
                try:
                    answers.append(client.post(self._url, content=GOOD))
                except httpx.TransportError as error:
                    answers.append(repr(error))

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def release(server: SimpleNamespace, version: str) -> None:
    built = build_version(server.store, version)
    common: dict[str, Any] = {"model": MODEL, "version": version, "serving_conn_id": "serving_test"}
    uri = candidate_uri(built)
    smoke_test = common | {"candidate_uri": uri, "max_latency_ms": 10_000}
    context = FakeContext()
    DeployCandidateOperator(
        task_id="deploy", candidate_uri=uri, settings=built.settings, deferrable=False, **common
    ).execute(context)
    SmokeTestOperator(task_id="smoke_test", **smoke_test).execute(context)
    PromoteOperator(task_id="promote", **common).execute(context)
    SmokeTestOperator(task_id="verify", through="endpoint", **smoke_test).execute(context)


def test_two_releases_under_load_lose_no_request(server: SimpleNamespace) -> None:
    release(server, VERSIONS[0])
    with Clients(server.hook.endpoint_url(MODEL)) as clients:
        release(server, VERSIONS[1])
        release(server, VERSIONS[2])

    failed = [
        answer if isinstance(answer, str) else answer.status_code
        for answers in clients.answers
        for answer in answers
        if isinstance(answer, str) or answer.status_code != 200
    ]
    assert failed == []
    for answers in clients.answers:
        predictions = [answer.json()["predictions"][0] for answer in answers if not isinstance(answer, str)]
        versions = [prediction["version"] for prediction in predictions]
        assert versions == [prediction["built_as"] for prediction in predictions], "the code that answered"
        assert set(versions) == set(VERSIONS)
        assert versions == sorted(versions), "nobody goes back to an older version"
