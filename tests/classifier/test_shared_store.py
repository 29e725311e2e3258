"""Airflow and the steps are different users of one volume, each a process of its own, as pods are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.models import PROJECT_DIR

VERSION = "20260101000000"
AIRFLOW, STEP, STRANGER = (50000, 0), (1000, 0), (1000, 1000)

_STORE = "import sys, fsspec; store = fsspec.filesystem('file'); place = sys.argv[1]\n"
CLAIM = f"""{_STORE}
from include.contracts.version.claims import claim_version
print(claim_version(store, place, "{VERSION}", mark="m", run="check"))"""
PACK = f"""{_STORE}
from include.classifier.data.sources import write_whole
from include.contracts.version.claims import claim_attempt
from include.contracts.version.files import write_file
claim_attempt(store, f"{{place}}/{VERSION}", mark="n", run="package")
write_file(store, f"{{place}}/{VERSION}/package/config/config.properties", b"")
write_whole(f"file://{{place}}/{VERSION}/candidate.json", "{{}}")"""
PRUNE = f"{_STORE}store.rm(f'{{place}}/{VERSION}', recursive=True)"


def run_as(user: tuple[int, int], *arguments: str) -> subprocess.CompletedProcess[str]:
    who = ["setpriv", f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups"]
    return subprocess.run(
        [*who, sys.executable, *arguments],
        cwd=PROJECT_DIR,
        env={"PATH": os.environ["PATH"], "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )


def preprocess_as(user: tuple[int, int], store: Path, data: Path) -> subprocess.CompletedProcess[str]:
    settings = json.dumps(
        {"train": [str(data)], "labels": {"1": "bad", "2": "good"}, "min_rows": 4, "min_evaluation_rows": 2}
    )
    output = f"file://{store}/reviews/{VERSION}/dataset"
    module = ("-m", "include.classifier.preprocess", "--model", "reviews")
    return run_as(user, *module, "--data", settings, "--output-uri", output)


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder that every user can reach."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can be two users, by setpriv")
    if run_as(STEP, "-c", "import fsspec").returncode:
        pytest.skip("another user cannot run this Python")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.processes
@pytest.mark.long
def test_a_release_goes_through_a_volume_of_two_users_and_is_pruned(place: Path) -> None:
    (store := place / "store").mkdir()
    store.chmod(0o777)  # as an ordinary ReadWriteMany claim is
    words = ("kind", "tidy", "warm", "calm")
    rows = [f"{word} {where},{label}" for word in words for label, where in ((1, "inn"), (2, "bar"))]
    (data := place / "train.csv").write_text("\n".join(["text,label", *rows]))
    reviews = f"{store}/reviews"

    claimed = run_as(AIRFLOW, "-c", CLAIM, reviews)
    assert claimed.stdout.strip() == VERSION, claimed.stderr
    for done in (
        preprocess_as(STEP, store, data),
        run_as(STEP, "-c", PACK, reviews),
        run_as(AIRFLOW, "-c", PRUNE, reviews),
    ):
        assert done.returncode == 0, done.stderr
    assert list((store / "reviews").iterdir()) == []

    run_as(AIRFLOW, "-c", CLAIM, reviews)
    denied = preprocess_as(STRANGER, store, data)
    assert denied.returncode == 2, "no other try will do better"
    told = denied.stderr.splitlines()[-1]
    assert f"{reviews} belongs to user 50000 and group 0 with mode 2770, and user 1000 of group 1000 asked" in told
    assert "cluster.run_as_group" in told
