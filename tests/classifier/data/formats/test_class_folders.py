"""Folders of texts are rows, each with its folder's name as the label, and nothing that is not in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data.formats import class_folders
from include.classifier.data.part_files import all_files
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig
from tests.classifier.data.rows import Row, read_rows, write

DATA = DataConfig(train=["unused"], labels=["neg", "pos"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder like IMDB's, with all that is beside the reviews."""
    folder = tmp_path / "My train.set"
    texts = ("pos/10_9.txt", "pos/1_7.TXT", "neg/0_3.txt")
    for name in (*texts, "neg/.hidden.txt", "neg/_tmp.txt", "neg/x.feat", ".git/a.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, f"\ufeffthe text of\r\n{name}")
    write(folder / "urls_pos.txt", "no text")
    (folder / "empty").mkdir()
    outside = write(tmp_path / "outside.txt", "a secret")
    (folder / "pos/link.txt").symlink_to(outside)
    (folder / "linked").symlink_to(folder / "pos")
    os.mkfifo(folder / "pos/fifo.txt")
    return folder


def read(folder: Path | str, allowed: list[str] | None = None, **settings: Any) -> tuple[list[Row], list[str]]:
    problems = Problems()
    sources = all_files([Source(str(folder), "train", allowed)], problems)
    data = DATA.model_copy(update=settings)
    return [row for source in sources for row in read_rows(source, data, problems)], problems.messages()


@pytest.mark.parametrize("batch_rows", [1, 2, 16])
def test_texts_come_by_label_and_name(folder: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int) -> None:
    monkeypatch.setattr(class_folders, "_BATCH_ROWS", batch_rows)
    rows = [
        Row(1, "the text of\r\nneg/0_3.txt", "neg"),
        Row(2, "the text of\r\npos/10_9.txt", "pos"),
        Row(3, "the text of\r\npos/1_7.TXT", "pos"),
    ]

    assert read(folder) == read(folder.as_uri()) == read(f"{folder}/") == (rows, [])


def test_a_form_names_such_a_folder_as_it_names_a_file(folder: Path) -> None:
    assert len(read(folder, [str(folder.parent)])[0]) == 3
    link = folder.parent / "link"
    link.symlink_to(folder)
    for named, allowed in ((folder, [str(folder / "pos")]), (link, [str(link.parent / "elsewhere")])):
        assert "not read on behalf of a form" in read(named, allowed)[1][0]


def test_a_folder_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("include.classifier.data.formats.class_folders.os.scandir", refuse)
    source = Source(str(folder), "train")
    with pytest.raises(DataError, match="reading it is not allowed"):
        class_folders.has_class_folders(str(folder), source)
    with pytest.raises(DataError, match="reading it is not allowed"):
        list(class_folders.read_class_folders(source, DATA, Problems()))


def test_part_files_go_before_texts(folder: Path) -> None:
    write(folder / "a.csv", "text,label\nfine,pos\n")

    assert read(folder)[0] == [Row(2, "fine", "pos")]


def test_bytes_that_are_no_text_are_a_row_without_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        write(folder / f"pos/{number}.txt", "fine")
    write(folder / "pos/bad.txt", b"caf\xe9 privat")

    rows, problems = read(folder)

    assert ([row.text for row in rows].count(None), len(rows), problems) == (1, 44, [])
    printed = capsys.readouterr().out
    assert "1 of 44 files are not UTF-8 (pos/bad.txt); they are dropped as empty." in printed
    assert "privat" not in printed
    assert "café privat" in [row.text for row in read(folder, encoding="cp1252")[0]]


def test_another_encoding_is_told_and_no_row_is_lost_in_silence(folder: Path) -> None:
    for number in range(4):
        write(folder / f"pos/{number}.txt", "très bien, voilà".encode("cp1252"))

    (problem,) = read(folder)[1]

    assert "4 of 7 files are not UTF-8 (pos/0.txt, pos/1.txt, pos/2.txt and 1 more). Set `encoding`" in problem
    assert "bien" not in problem


def test_sizes_have_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(str(folder), "train", found="class folders")
    monkeypatch.setattr(class_folders, "LONGEST_LINE_BYTES", 27)
    with pytest.raises(DataError, match="text file 2 has more than 0 MB"):
        list(class_folders.read_class_folders(source, DATA, Problems()))
    monkeypatch.setattr(class_folders, "LONGEST_LINE_BYTES", 100)
    monkeypatch.setattr(class_folders, "_MOST", 2)
    with pytest.raises(DataError, match="holds more than 2 texts"):
        list(class_folders.read_class_folders(source, DATA, Problems()))
