"""A release of one installation goes live in another one that has nothing in common with it but the model store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.embedded_world import MODEL, EmbeddedWorld

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.torchserve,
    pytest.mark.pipelines,
    pytest.mark.long,
    pytest.mark.timeout(1800),  # two releases, one after the other
]

TEXTS = ("An absolutely wonderful dinner.", "Never again.")


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[tuple[EmbeddedWorld, EmbeddedWorld]]:
    """Return staging and production."""
    both = EmbeddedWorld(tmp_path / "staging"), EmbeddedWorld(tmp_path / "production")
    yield both
    for world in both:
        world.make("stop")


def test_staging_releases_and_production_takes_over(
    worlds: tuple[EmbeddedWorld, EmbeddedWorld], tmp_path: Path
) -> None:
    staging, production = worlds
    store = tmp_path / "store"
    shared = {"MODEL_STORE": f"file://{store}"}
    released = staging.make("release", **shared)
    assert released.returncode == 0, released.stdout[-5000:] + released.stderr[-2000:]
    (version,) = {answer["version"] for answer in staging.predict(*TEXTS)}
    (sha256,) = re.findall("takes it over with SHA-256 ([0-9a-f]{64})", released.stdout)

    wrong = production.make("take-over", VERSION=version, RELEASE_SHA256="f" * 64, **shared)
    assert wrong.returncode != 0
    assert f"has SHA-256 {sha256}, and {'f' * 64} was asked for" in wrong.stdout
    assert "Serving now: nothing" in wrong.stdout

    taken = production.make("take-over", VERSION=version, RELEASE_SHA256=sha256, **shared)
    assert taken.returncode == 0, taken.stdout[-5000:] + taken.stderr[-2000:]
    assert "== train" not in taken.stdout
    assert f"Taking over {MODEL} {version}: RELEASED" in taken.stdout
    assert production.predict(*TEXTS) == staging.predict(*TEXTS)
    document = json.loads((store / MODEL / version / "release.json").read_text())
    assert f"was released by {document['dag_run_url']}" in taken.stdout
    assert document["gate"] in taken.stdout

    again = production.make("take-over", VERSION=version, RELEASE_SHA256=sha256, **shared)
    assert again.returncode != 0
    assert "is live here already" in again.stdout
    assert "live" in production.make("status", **shared).stdout
