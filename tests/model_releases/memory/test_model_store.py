"""Deletes versions, and nothing but versions."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.memory.model_store import ModelStore, that_may_lie_in

OLD, NEW = "20260101000000", "20260102000000"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model's folder with two versions of 7 bytes each, and things that are none."""
    for version in (OLD, NEW):
        (tmp_path / "reviews" / version / "package").mkdir(parents=True)
        (tmp_path / "reviews" / version / "candidate.json").write_text("{}")
        (tmp_path / "reviews" / version / "package" / "m.mar").write_bytes(b"12345")
    (tmp_path / "reviews" / "notes").mkdir()
    return tmp_path / "reviews"


def test_versions_and_their_sizes(folder: Path) -> None:
    store = ModelStore(folder.as_uri())
    assert store.versions() == [OLD, NEW]
    assert store.size_bytes(OLD) == 7
    assert ModelStore((folder / "nowhere").as_uri()).versions() == []


def test_a_file_of_a_version_is_read_and_none_is_none(folder: Path) -> None:
    store = ModelStore(folder.as_uri())
    assert store.read(OLD, "package", "m.mar", max_bytes=5) == b"12345"
    assert store.read(OLD, "package", "other.mar", max_bytes=5) is None
    assert store.read("20260103000000", "candidate.json", max_bytes=5) is None
    assert ModelStore((folder / "nowhere").as_uri()).read(OLD, "candidate.json", max_bytes=5) is None
    with pytest.raises(InvalidRequestError, match="more than 4 bytes"):
        store.read(OLD, "package", "m.mar", max_bytes=4)


def test_installations_that_share_a_store_say_what_they_need(folder: Path) -> None:
    store = ModelStore(folder.as_uri())
    (folder / OLD / "claim.json").write_text('{"mark": "1", "run": "a run", "installation": "staging"}')
    (folder / NEW / "claim.json").symlink_to(folder / OLD / "claim.json")
    assert [store.made_elsewhere(OLD, installation) for installation in ("staging", "production")] == [False, True]
    assert not store.made_elsewhere(NEW, "production")
    for _ in range(2):
        store.take_over(OLD, "production")
    assert [store.is_taken_over(OLD, by=name) for name in ("", "production", "staging")] == [True, True, False]
    for _ in range(2):
        store.let_go(OLD, "production")
    assert not store.is_taken_over(OLD)


def test_the_models_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(folder)
    assert ModelStore((tmp_path / "elsewhere").as_uri()).read(OLD, "candidate.json", max_bytes=5) == b"{}"


def file_is_a_link(version: Path, secret: Path) -> None:
    (version / "report").mkdir(parents=True)
    (version / "report" / "report.html").symlink_to(secret / "report" / "report.html")


def folder_is_a_link(version: Path, secret: Path) -> None:
    version.mkdir()
    (version / "report").symlink_to(secret / "report")


def version_is_a_link(version: Path, secret: Path) -> None:
    version.symlink_to(secret)


def link_within_the_version(version: Path, secret: Path) -> None:
    (version / "report").mkdir(parents=True)
    (version / "other.html").write_text("hello")
    (version / "report" / "report.html").symlink_to("../other.html")


def fifo(version: Path, secret: Path) -> None:
    (version / "report").mkdir(parents=True)
    os.mkfifo(version / "report" / "report.html")


def socket_file(version: Path, secret: Path) -> None:
    (version / "report").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(version / "report"):  # its address is short
        listener.bind("report.html")


def a_folder(version: Path, secret: Path) -> None:
    (version / "report" / "report.html").mkdir(parents=True)


@pytest.mark.parametrize(
    "make",
    [
        file_is_a_link,
        folder_is_a_link,
        version_is_a_link,
        link_within_the_version,
        fifo,
        socket_file,
        a_folder,
    ],
)
def test_nothing_but_a_plain_file_is_read_and_no_link_is_followed(
    folder: Path, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    secret = tmp_path / "secret"
    (secret / "report").mkdir(parents=True)
    (secret / "report" / "report.html").write_text("a password")
    make(folder / "20260103000000", secret)

    with pytest.raises(InvalidRequestError, match="is a link or no plain file"):
        ModelStore(folder.as_uri()).read("20260103000000", "report", "report.html", max_bytes=100)


def test_a_version_is_deleted_with_all_that_is_in_it_and_twice_is_harmless(folder: Path) -> None:
    store = ModelStore(folder.as_uri())
    for _ in range(2):
        store.delete(OLD)
        assert sorted(path.name for path in folder.iterdir()) == [NEW, "notes"]


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    (folder / "20260103000000").symlink_to(outside)
    store = ModelStore(folder.as_uri())
    assert "link" in str(store.obstacle("20260103000000"))
    with pytest.raises(InvalidRequestError, match="link"):
        store.delete("20260103000000")
    (folder / OLD / "link").symlink_to(outside)
    store.delete(OLD)
    assert (outside / "kept").exists()


@pytest.mark.parametrize("inside", ["", "/other", "/deep/other/"])
def test_a_version_that_holds_another_models_store_is_not_deleted(folder: Path, inside: str) -> None:
    store = ModelStore(folder.as_uri(), other_uris=[f"{(folder / OLD).as_uri()}{inside}"])
    with pytest.raises(InvalidRequestError, match="another model"):
        store.delete(OLD)
    store.delete(NEW)
    assert (folder / OLD / "candidate.json").exists()


@pytest.mark.parametrize(
    ("store", "other", "may"),
    [
        ("s3://models/one", "s3://models/one/20260101000000", True),
        ("s3://models/one/", "s3a://models//one/20260101000000/deep/other/", True),
        ("s3://aws_default@models/one", "s3://models/one", True),
        ("file:///stores/one", "/stores/one/20260101000000", True),
        ("s3://models/one", "s3://models/two", False),
        ("s3://models/one", "s3://models/one-more/20260101000000", False),
        ("s3://models/one", "s3://models/another-one", False),
    ],
)
def test_only_stores_that_may_lie_in_this_one_are_looked_at(store: str, other: str, may: bool) -> None:
    assert that_may_lie_in(store, [other]) == ([other] if may else [])


def test_only_a_version_can_be_deleted(folder: Path) -> None:
    for name in ("notes", "..", f"{OLD}/package", ""):
        with pytest.raises(ValueError, match="no version"):
            ModelStore(folder.as_uri()).delete(name)
    assert (folder / "notes").exists()
