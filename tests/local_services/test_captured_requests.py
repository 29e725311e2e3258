"""Real servers of this machine capture what users send, once each, and nothing of what a release asks."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.sdk import Connection

from include.capture.day_files import DayFiles
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.monitoring import captured
from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState
from model_releases.operators.smoke_test import SmokeTestOperator
from tests import native_support
from tests.local_kserve_support import local_kserve
from tests.native_support import local_native
from tests.serving_support import FakeContext, candidate_uri, connection_json, torchserve
from tests.waiting import LIMIT_SECONDS, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.torchserve, pytest.mark.long]

MODEL = "tiny-reviews"
FIRST, SECOND = "20260101000000", "20260102000000"
SECRET = "Zyxwvut Qponmlk"


@dataclass
class World:
    """A server that users and releases ask.

    :param versions: to be served, by their names.
    :param store: folder of the model in the store.
    :param is_smoke_tested: whether there are golden examples for the smoke test.
    """

    hook: Any
    connection: Connection
    versions: dict[str, ModelVersion]
    store: Path
    is_smoke_tested: bool = True

    def deploy(self, version: str) -> Any:
        """Bring a candidate up, and ask it all that a release asks."""
        deployment = self.hook.deploy_candidate(self.versions[version])
        deadline = time.monotonic() + LIMIT_SECONDS
        while not deployment.state.is_terminal:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            deployment = self.hook.get_deployment(MODEL, version)
        assert deployment.state is DeploymentState.READY, deployment.reason
        self.smoke_test(version, through="candidate")
        return deployment

    def smoke_test(self, version: str, *, through: str) -> None:
        if not self.is_smoke_tested:
            asked = version if through == "candidate" else None
            assert self.hook.predict(MODEL, body_of("golden example"), version=asked).status_code == 200
            return
        SmokeTestOperator(
            task_id="smoke_test",
            model=MODEL,
            version=version,
            candidate_uri=candidate_uri(self.versions[version]),
            serving_conn_id="serving_test",
            registry_conn_id=None,
            through=through,
            max_latency_ms=60_000,
        ).execute(FakeContext())

    def lines(self) -> int:
        """Count what stands in the files, also in those that are being written."""
        return everything(self.store).count("\n")


def body_of(text: str) -> bytes:
    return json.dumps({"instances": [text]}).encode()


def captured_with(version: ModelVersion, store: Path) -> ModelVersion:
    section = {"share": 1.0, "texts": "hash", "store": store.as_uri()}
    return replace(version, settings={**version.settings, "capture": section})


def packages(python: str, store: Path, settings: dict[str, Any]) -> dict[str, ModelVersion]:
    """Publish two versions of a small, real model."""
    command = [python, "-m", "tests.real_package", str(store), MODEL, FIRST, SECOND]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    found = {}
    for version in (FIRST, SECOND):
        path = store / MODEL / version / "candidate.json"
        archive = TextClassifierCandidate.parse(path.read_text(), where=str(path)).archive
        found[version] = captured_with(
            ModelVersion(
                model=MODEL,
                version=version,
                archive_uri=archive.uri,
                archive_sha256=archive.sha256,
                settings=settings,
            ),
            store / MODEL,
        )
    return found


@contextmanager
def on_torchserve(request: pytest.FixtureRequest, folder: Path) -> Iterator[World]:
    python = request.getfixturevalue("pipelines_python")
    settings = {"workers": 1, "batch_size": 4, "max_batch_delay_ms": 5, "response_timeout_seconds": 60}
    with torchserve(python, folder) as running:
        versions = packages(python, running.store, settings)
        yield World(running.hook, running.connection, versions, running.store / MODEL)


@contextmanager
def on_the_native_server(request: pytest.FixtureRequest, folder: Path) -> Iterator[World]:
    python = request.getfixturevalue("pipelines_python")
    with local_native(python, folder) as running:
        versions = packages(python, running.store, native_support.SETTINGS)
        yield World(running.hook, running.connection, versions, running.store / MODEL)


@contextmanager
def on_kserves_server(request: pytest.FixtureRequest, folder: Path) -> Iterator[World]:
    with local_kserve(request.getfixturevalue("kserve_python"), folder) as running:
        store = running.store / MODEL
        versions = {each: captured_with(running.build(each, model=MODEL), store) for each in (FIRST, SECOND)}
        yield World(running.hook, running.connection, versions, store, is_smoke_tested=False)


@pytest.mark.parametrize("serve", [on_torchserve, on_the_native_server, on_kserves_server])
def test_users_are_captured_once_and_releases_are_not(
    serve: Callable[..., Any], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(request, tmp_path) as world, httpx.Client(trust_env=False, timeout=LIMIT_SECONDS) as users:
        monkeypatch.setenv("AIRFLOW_CONN_SERVING_TEST", connection_json(world.connection))

        def ask(name: str, url: str = "", **headers: str) -> httpx.Response:
            given = {"Content-Type": "application/json", "X-Request-Id": name, **headers}
            url = url or world.hook.endpoint_url(MODEL)
            return users.post(url, content=body_of(f"good food {SECRET}"), headers=given)

        world.deploy(FIRST)
        world.hook.promote(MODEL, FIRST)
        world.smoke_test(FIRST, through="endpoint")
        assert world.hook.predict(MODEL, body_of("asked by who puts back")).status_code == 200
        # A server looks once a second at what is live.
        early = count()
        wait_for(lambda: ask(f"early-{next(early)}") and world.lines(), "a request of a user is captured", pause=0.5)

        answers = {name: ask(name) for name in ("user-0", "user-1", "user-2")}
        second = world.deploy(SECOND)
        candidate = ask("asks-a-candidate", second.url)
        opted_out = ask("not-me", **{"X-Capture": "off"})
        answers |= {name: ask(name) for name in ("user-3", "user-4")}
        assert {each.status_code for each in (candidate, opted_out, *answers.values())} == {200}
        asked = next(early) + len(answers)
        wait_for(lambda: all(each in everything(world.store) for each in answers), "all are written")
        world.hook.stop()

    # What a server had open when it was ended, the next one finishes.
    DayFiles(world.store / "captured", "test", most_bytes=10**9).recover()
    counts = captured.ReadingCounts()
    found = list(captured.read(world.store, counts=counts))
    assert (counts.broken_lines, counts.broken_files) == (0, 0)
    by_id = {each.id: each for each in found}
    assert len(by_id) == len(found) <= asked, "nothing is captured twice"
    assert {each for each in by_id if not each.startswith("early-")} == answers.keys()
    for each in found:
        assert (each.model, each.version, each.protocol, each.status) == (MODEL, FIRST, "v1", 200)
        assert each.latency_ms
        (row,) = each.rows
        assert row.input.keys() == {"sha256"}
    assert SECRET not in everything(world.store)
    for name, answer in answers.items():
        (row,) = by_id[name].rows
        (prediction,) = answer.json()["predictions"]
        assert row.output == (prediction["label"] if world.is_smoke_tested else prediction)


def everything(store: Path) -> str:
    """Return all that was captured, also what is being written."""
    found = []
    for path in (store / "captured").glob("*/*"):
        with suppress(FileNotFoundError):  # it has got its own name just now
            found.append(path.read_text(encoding="utf-8"))
    return "".join(found)
