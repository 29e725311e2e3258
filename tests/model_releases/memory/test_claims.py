"""A version belongs to one run, whoever else asks for it in the same second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.execution_time.xcom import XCom
from airflow.sdk.io import attach

from include.contracts.version import claims
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.memory import claims as memory
from model_releases.memory.claims import claim, claimed_version, release_version

ASKED, NEXT, THIRD = "20261121035959", "20261121040000", "20261121040001"


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the folder of a model, on a disk and in a store of objects."""
    if request.param == "file":
        yield (tmp_path / "reviews").as_uri()
        return
    memory = fsspec.filesystem("memory")
    attach("memory", fs=memory)
    yield "memory://models/reviews"
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def write(uri: str, text: str = "{}") -> None:
    path = ObjectStoragePath(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_each_run_has_a_version_of_its_own_and_finds_it_again(store: str) -> None:
    assert [claim(store, ASKED, mark=mark, run="a run") for mark in "abca"] == [ASKED, NEXT, THIRD, ASKED]
    assert claim(store, ASKED, mark="c", run="a run") == THIRD


@pytest.mark.parametrize(
    ("file", "text"),
    [("candidate.json", "{}"), ("claim.json", ""), ("claim.json", "[]"), ("claim.json", "{}"), ("claim.json", "\x00")],
)
def test_a_folder_that_nobody_has_claimed_like_this_is_taken_all_the_same(store: str, file: str, text: str) -> None:
    write(f"{store}/{ASKED}/{file}", text)
    assert claim(store, ASKED, mark="a", run="a run") == NEXT


@pytest.mark.parametrize(
    ("claim", "expected"),
    [(None, ""), (b"", ""), (b"[]", ""), (b"\xff", ""), (b"{}", ""), (b'{"installation": "one"}', "one")],
)
def test_a_claim_says_which_installation_has_made_a_version(claim: bytes | None, expected: str) -> None:
    assert claims.claiming_installation(claim) == expected


def test_an_airflow_claims_in_its_own_name(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "airflow_id", lambda: "here")
    version = claim(store, ASKED, mark="a", run="a run")
    assert claims.claiming_installation((ObjectStoragePath(store) / version / "claim.json").read_bytes()) == "here"


def test_each_training_of_a_version_has_a_place_of_its_own(store: str) -> None:
    folder = ObjectStoragePath(store) / ASKED
    names = [claims.claim_attempt(folder.fs, folder.path, mark=mark, run="a run") for mark in "abca"]
    assert names == ["", "attempt-2", "attempt-3", ""]
    write(f"{store}/{NEXT}/package/config/config.properties")  # as version 0.1.0 wrote it
    folder = ObjectStoragePath(store) / NEXT
    assert claims.claim_attempt(folder.fs, folder.path, mark="d", run="a run") == "attempt-2"


def test_of_many_at_once_no_two_get_the_same(tmp_path: Path) -> None:
    marks = [f"run-{number}" for number in range(16)]
    with ThreadPoolExecutor(len(marks)) as pool:
        versions = list(pool.map(lambda mark: claim(tmp_path.as_uri(), ASKED, mark=mark, run=mark), marks))
    assert len(set(versions)) == len(marks)
    for mark, version in zip(marks, versions, strict=True):
        assert json.loads((tmp_path / version / "claim.json").read_text()) == {"mark": mark, "run": mark}


def test_whoever_comes_second_to_a_store_that_refuses_nothing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = claims._create

    def outrun(filesystem: Any, path: str, text: str) -> None:
        create(filesystem, path, text)
        if f"/{ASKED}/" in path:
            filesystem.pipe_file(path, b'{"mark": "quicker", "run": ""}')

    monkeypatch.setattr(claims, "_create", outrun)
    assert claim(tmp_path.as_uri(), ASKED, mark="a", run="a run") == NEXT


def test_a_store_without_a_free_second_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "HORIZON", 2)
    for version in (ASKED, NEXT):
        (tmp_path / version).mkdir()
    with pytest.raises(InvalidRequestError, match=f"a version for each of the 2 seconds from {ASKED}"):
        claim(tmp_path.as_uri(), ASKED, mark="a", run="a run")


@pytest.mark.parametrize(
    ("found", "known", "claimed"),
    [([], ASKED, None), ([None], ASKED, None), ([{"live_uri": ""}], ASKED, ASKED), ([{"version": NEXT}], NEXT, NEXT)],
)
def test_only_what_was_claimed_is_written_to(
    monkeypatch: pytest.MonkeyPatch, found: list[Any], known: str, claimed: str | None
) -> None:
    monkeypatch.setattr(XCom, "get_all", lambda **asked: found)
    asked = datetime(2026, 11, 21, 3, 59, 59, tzinfo=UTC)
    run = SimpleNamespace(dag_id="release_reviews", run_id="manual__1", run_after=asked)
    assert release_version(run) == known
    if claimed:
        assert claimed_version(run) == claimed
    else:
        with pytest.raises(InvalidRequestError, match="check of this run has claimed no version"):
            claimed_version(run)
