"""Deletes versions, and nothing but versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.model_store import ModelStore

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


def test_only_a_version_can_be_deleted(folder: Path) -> None:
    for name in ("notes", "..", f"{OLD}/package", ""):
        with pytest.raises(ValueError, match="no version"):
            ModelStore(folder.as_uri()).delete(name)
    assert (folder / "notes").exists()
