"""The digest of a model's files says all that they are, is the same wherever it is computed, and is of plain files."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from include.contracts.version import model_files
from include.contracts.version.model_files import ModelFilesError, check_names, digest_of, folder_digest

ONE, TWO = hashlib.sha256(b"one").hexdigest(), hashlib.sha256(b"two").hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "weights").mkdir(parents=True)
    (tmp_path / "model" / "model.onnx").write_bytes(b"one")
    (tmp_path / "model" / "weights" / "a b").write_bytes(b"two")
    return tmp_path / "model"


def test_a_file_has_the_digest_of_its_bytes(folder: Path) -> None:
    assert digest_of(folder / "model.onnx") == ONE


def test_a_folder_has_that_of_its_names_and_digests(folder: Path) -> None:
    assert digest_of(folder) == folder_digest({"weights/a b": TWO, "model.onnx": ONE})
    text = f"{ONE}  model.onnx\n{TWO}  weights/a b\n"
    assert digest_of(folder) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.processes
def test_it_is_what_the_documented_commands_print(folder: Path) -> None:
    (folder / "B").write_bytes(b"x")
    (folder / "a-1").write_bytes(b"y")
    command = str(model_files.__doc__).split("``")[1].removeprefix("cd FOLDER && ")
    found = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert found.split()[0] == digest_of(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "model.onnx").write_bytes(b"One"),
        lambda folder: (folder / "model.onnx").rename(folder / "model2.onnx"),
        lambda folder: (folder / "weights" / "a b").rename(folder / "a b"),
        lambda folder: (folder / "more").write_bytes(b""),
    ],
)
def test_whatever_changes_changes_it(folder: Path, change: Callable[[Path], None]) -> None:
    before = digest_of(folder)
    change(folder)
    assert digest_of(folder) != before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "link").symlink_to("model.onnx"),
        lambda folder: (folder / "weights" / "link").symlink_to("/etc"),
        lambda folder: os.mkfifo(folder / "pipe"),
        lambda folder: (folder / ".hidden").write_bytes(b""),
        lambda folder: (folder / "new\nline").write_bytes(b""),
        lambda folder: (folder / "back\\slash").write_bytes(b""),
    ],
)
def test_what_is_no_plain_file_of_a_model_is_refused(folder: Path, spoil: Callable[[Path], None]) -> None:
    spoil(folder)
    with pytest.raises(ModelFilesError, match=r"link|begin no name"):
        digest_of(folder)


def test_a_link_to_a_file_and_a_pipe_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hosts")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(ModelFilesError, match=name):
            digest_of(tmp_path / name)


def test_a_folder_that_is_empty_crowded_or_deep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelFilesError, match="no file"):
        digest_of(tmp_path)
    monkeypatch.setattr(model_files, "MOST_FILES", 2)
    for number in range(4):
        (tmp_path / f"{number}").touch()
    with pytest.raises(ModelFilesError, match="more than 2"):
        digest_of(tmp_path)
    deep = tmp_path / "deep"
    (deep / "/".join(["x"] * 30)).mkdir(parents=True)
    with pytest.raises(ModelFilesError, match="deep"):
        digest_of(deep)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../b", "a//b", "", ".", "a/", "x" * 501, "\N{RIGHT-TO-LEFT OVERRIDE}"]
)
def test_a_name_of_a_store_leads_nowhere_else(name: str) -> None:
    with pytest.raises(ModelFilesError, match="cannot be part"):
        check_names({name: 1}, where="s3://bucket/model")


def test_a_store_with_more_than_a_machine_holds_is_refused() -> None:
    with pytest.raises(ModelFilesError, match="30 GB; 20"):
        check_names({"a": 15_000_000_000, "b": 15_000_000_000}, where="s3://bucket/model")


def test_what_is_no_digest_is_refused() -> None:
    with pytest.raises(ModelFilesError, match="'a' has no hex SHA-256"):
        folder_digest({"a": ONE.upper()})
