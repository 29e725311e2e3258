"""What users send is captured, judged and forgotten, as a user of the embedded world sees it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from include.contracts.monitoring import captured
from tests.alert_listener import Listener, alert_listener
from tests.end_to_end.embedded_world import MODEL, PROJECT, EmbeddedWorld, request_json
from tests.waiting import wait_for

# Its parts are told by tests/request_capture, tests/monitoring and tests/dags/test_watch_drift.py.
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.torchserve,
    pytest.mark.pipelines,
    pytest.mark.long,
    pytest.mark.timeout(1800),  # a release and a running Airflow, one after the other: eight minutes on a busy machine
]

REQUESTS = 200
#: A server closes its file of captured requests after a minute.
CLOSED_WITHIN_SECONDS = 180
DRIFT, RELEASE = "watch_drift_sample_reviews", "release_sample_reviews"


class World(EmbeddedWorld):
    """The embedded world with a model whose requests are captured."""

    def __init__(self, folder: Path, listener: type[Listener], alert_url: str) -> None:
        models = folder / "models"
        models.mkdir()
        settings = yaml.safe_load((PROJECT / "include" / "models" / f"{MODEL}.yaml").read_text())
        settings["data"] |= {name: str(PROJECT / settings["data"][name]) for name in ("train", "evaluation")}
        settings |= {
            "capture": {"enabled": True, "share": 1.0, "texts": "keep"},
            "drift": {"min_requests": 100},
            "schedule": {"retrain_on": "drift", "min_interval_hours": 168},
        }
        (models / f"{MODEL}.yaml").write_text(yaml.safe_dump(settings))
        super().__init__(folder / "state", MODELS_DIR=str(models), ALERT_URL=alert_url)
        self.listener = listener
        self.store = self.state / "store" / MODEL

    def ask(self, names: list[str], texts: list[str]) -> None:
        """Send a request each, as somebody's client does."""
        with httpx.Client(trust_env=False, timeout=60) as client:
            for name, text in zip(names, texts, strict=True):
                answer = client.post(
                    f"{self.serving}/v1/models/{MODEL}:predict",
                    json={"instances": [text]},
                    headers={"X-Request-Id": name},
                )
                assert answer.status_code == 200, answer.text

    def requests(self) -> dict[str, captured.CapturedRequest]:
        """Return what is captured, each by its id."""
        counts = captured.ReadingCounts()
        found = list(captured.read(self.store, counts=counts))
        assert (counts.broken_lines, counts.broken_files) == (0, 0)
        assert len({each.id for each in found}) == len(found)
        return {each.id: each for each in found}

    def is_being_written(self) -> bool:
        return bool(list((self.store / "captured").glob("*/.*")))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with alert_listener() as (listener, url):
        world = World(tmp_path, listener, url)
        try:
            yield world
        finally:
            stopped = world.make("stop")
        assert stopped.returncode == 0, stopped.stderr


def shifted(number: int) -> list[str]:
    """Return texts that are longer than those of the data set, and in another script."""
    choice = random.Random(7)
    words = ["хорошо", "плохо", "место", "еда", "очень", "никогда", "снова", "долго"]
    return [" ".join(choice.choices(words, k=choice.randint(40, 80))) for _ in range(number)]


def test_shifted_requests_are_captured_told_and_forgotten(world: World) -> None:
    released = world.make("release")
    assert released.returncode == 0, released.stdout[-5000:] + released.stderr[-2000:]
    version = world.predict("not asked for the test's sake")[0]["version"]
    names = [f"user-{number}" for number in range(REQUESTS)]
    world.ask(names, shifted(REQUESTS))
    wait_for(lambda: names[-1] in world.requests(), "all is captured", seconds=CLOSED_WITHIN_SECONDS, pause=1)

    found = world.requests()
    assert set(names) <= found.keys()
    assert len(found) <= REQUESTS + 1, "what the release has asked is not captured"
    assert {each.version for each in found.values()} == {version}
    assert found[names[3]].rows[0].input == shifted(REQUESTS)[3]

    started = world.make("airflow")
    assert started.returncode == 0, started.stdout + started.stderr
    check_that_drift_is_told_and_asks_for_a_release(world, world.token(started.stdout), version)
    check_that_requests_are_forgotten(world, names)
    check_that_capturing_stops(world)


def check_that_drift_is_told_and_asks_for_a_release(world: World, token: str, version: str) -> None:
    run: dict[str, Any] = {}
    asked: list[dict[str, Any]] = []

    def call(path: str, body: Any = None) -> Any:
        return request_json(f"{world.airflow}/api/v2/{path}", body, token)

    def is_triggered() -> bool:
        with suppress(OSError):  # the DAG is not parsed yet
            run.update(call(f"dags/{DRIFT}/dagRuns", {"logical_date": None}))
        return bool(run)

    def is_over() -> bool:
        run.update(call(f"dags/{DRIFT}/dagRuns/{run['dag_run_id']}"))
        return run["state"] not in ("queued", "running")

    def is_asked() -> bool:
        asked[:] = call(f"dags/{RELEASE}/dagRuns?run_type=asset_triggered")["dag_runs"]
        return bool(asked)

    wait_for(is_triggered, "the DAG is parsed", pause=1)
    wait_for(is_over, lambda: f"the end of {run}", pause=1)
    assert run["state"] == "success"
    (alert,) = [each for each in world.listener.alerts if "users send something else" in each["title"]]
    assert version in alert["message"]
    assert "script" in alert["message"]
    assert "хорошо" not in alert["message"]
    wait_for(is_asked, "a run of the release that drift has asked for", pause=1)


def check_that_requests_are_forgotten(world: World, names: list[str]) -> None:
    before = world.requests().keys()
    answer = world.make("forget", MODEL=MODEL, IDS=f"{names[0]} {names[7]}")

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert before - world.requests().keys() == {names[0], names[7]}


def check_that_capturing_stops(world: World) -> None:
    world.ask(["before-off"], ["fine"])
    wait_for(world.is_being_written, "a file is begun")
    assert world.make("capture-off").returncode == 0
    wait_for(lambda: not world.is_being_written(), "the server has seen it", pause=0.1)
    world.ask([f"while-off-{number}" for number in range(5)], ["fine"] * 5)
    assert world.make("capture-on").returncode == 0

    def is_captured_again() -> bool:
        world.ask(["after-on"], ["fine"])
        return world.is_being_written()

    wait_for(is_captured_again, "capturing goes on", pause=0.5)
    assert world.make("stop").returncode == 0
    # What writes beside a server finishes its file when its server is gone.
    wait_for(lambda: not world.is_being_written(), "the last file is finished", pause=0.1)
    files = [path.read_text(encoding="utf-8") for path in (world.store / "captured").glob("*/*")]
    assert any("before-off" in each for each in files)
    assert any("after-on" in each for each in files)
    assert not any("while-off" in each for each in files)
