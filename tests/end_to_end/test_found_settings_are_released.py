"""A search finds better settings than the live version was trained with, and the release that it asks for goes live."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from include.contracts.monitoring import captured
from tests.end_to_end.embedded_world import MODEL, PROJECT, EmbeddedWorld
from tests.waiting import wait_for

# What a search finds is told by tests/classifier/search, what is asked of the live version by tests/model_releases.
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.torchserve,
    pytest.mark.pipelines,
    pytest.mark.long,
    pytest.mark.timeout(1800),  # two releases and a search: fifteen minutes on a busy machine
]

REQUESTS = 60
#: A server closes its file of captured requests after a minute.
CLOSED_WITHIN_SECONDS = 180


@pytest.fixture
def world(tmp_path: Path) -> Iterator[EmbeddedWorld]:
    """Yield a world whose model is trained with a learning rate at which it learns nothing, and which captures all."""
    models = tmp_path / "models"
    models.mkdir()
    settings = yaml.safe_load((PROJECT / "include" / "models" / f"{MODEL}.yaml").read_text())
    settings["data"] |= {name: str(PROJECT / settings["data"][name]) for name in ("train", "evaluation")}
    settings["training"] |= {"learning_rate": 1e-7}
    settings["gate"] |= {"min_macro_f1": 0.0}
    settings |= {
        "capture": {"enabled": True, "share": 1.0, "texts": "keep"},
        "shadow": {"deployed_requests": 40, "max_latency_ratio": 20.0},
        "search": {"space": {"learning_rate": {"low": 1e-3, "high": 2e-3}}, "early_stop": "none"},
    }
    (models / f"{MODEL}.yaml").write_text(yaml.safe_dump(settings))
    world = EmbeddedWorld(tmp_path / "state", MODELS_DIR=str(models))
    try:
        yield world
    finally:
        stopped = world.make("stop")
    assert stopped.returncode == 0, stopped.stderr


def test_what_a_search_finds_goes_live_beside_what_was_live(world: EmbeddedWorld) -> None:
    first = world.make("release")
    assert first.returncode == 0, first.stdout[-5000:] + first.stderr[-2000:]
    before = world.predict("The food was great.")[0]["version"]
    ask(world, before)

    searched = world.make("search", MODEL=MODEL, TRIALS="2", SEARCH="20261130090000", RELEASE="1")

    told = searched.stdout + searched.stderr
    assert searched.returncode == 0, told[-8000:]
    found = json.loads((world.state / "store" / MODEL / "search" / "20261130090000" / "search.json").read_text())
    assert found["is_better"] and found["is_shown"] and found["best"] == 1
    learning_rate = found["trials"][1]["settings"]["learning_rate"]
    answer = world.predict("The food was great.")[0]
    assert answer["version"] != before
    candidate = world.candidate(answer["version"])
    assert candidate["training"]["parameters"]["learning_rate"] == learning_rate
    assert candidate["metrics"]["candidate"]["macro_f1"] > 0.9
    # The packed candidate has answered what users asked the live version ...
    assert candidate["shadow"]["live_version"] == before
    assert candidate["shadow"]["requests"] >= REQUESTS
    assert candidate["shadow"]["changed"]["share"] > 0.5
    # ... and, deployed, was asked the same in turn with it.
    assert "latency beside the live version" in told
    assert "0 of the candidate failed, 0 of the live version" in told


def ask(world: EmbeddedWorld, version: str) -> None:
    """Send the requests of users, and wait until they are captured."""
    with (PROJECT / "include" / "sample_data" / "evaluation.csv").open(encoding="utf-8") as rows:
        texts = [row["text"] for row in csv.DictReader(rows)][:REQUESTS]
    with httpx.Client(trust_env=False, timeout=60) as client:
        for text in texts:
            answer = client.post(f"{world.serving}/v1/models/{MODEL}:predict", json={"instances": [text]})
            assert answer.status_code == 200, answer.text
    store = world.state / "store" / MODEL

    def all_are_captured() -> bool:
        found = list(captured.read(store, counts=captured.ReadingCounts()))
        return sum(each.version == version for each in found) >= REQUESTS

    wait_for(all_are_captured, "all is captured", seconds=CLOSED_WITHIN_SECONDS, pause=1)
