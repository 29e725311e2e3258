"""A folder or a pattern stands for the files in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from include.classifier.data.part_files import all_files
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "My export.csv"
    parts = ("part-1.csv", "part-0.csv", "b/part-2.CSV.GZ")
    for name in (*parts, "notes.md", "_SUCCESS", ".a.csv.crc", "_tmp/a.csv"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(uri: str, folder: Path) -> list[str]:
    problems = Problems()
    found = all_files([Source(uri, "train")], problems)
    problems.raise_if_any()
    return [str(Path(source.uri).relative_to(folder)) for source in found]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (str, ["b/part-2.CSV.GZ", "part-0.csv", "part-1.csv"]),
        (lambda folder: f"{folder}/", ["b/part-2.CSV.GZ", "part-0.csv", "part-1.csv"]),
        (Path.as_uri, ["b/part-2.CSV.GZ", "part-0.csv", "part-1.csv"]),
        (lambda folder: f"{folder}/part-*.csv", ["part-0.csv", "part-1.csv"]),
        (lambda folder: f"{folder}/part-[0].csv", ["part-0.csv"]),
        (lambda folder: f"{folder}/**/*.CSV.GZ", ["b/part-2.CSV.GZ"]),
        (lambda folder: f"{folder}/part-1.csv", ["part-1.csv"]),
    ],
)
def test_files_come_in_the_order_of_their_names(folder: Path, uri: Callable[[Path], str], expected: list[str]) -> None:
    assert names(uri(folder), folder) == expected


def test_a_file_that_is_called_like_a_pattern_is_itself(folder: Path) -> None:
    (folder / "part-[0].csv").touch()

    assert names(f"{folder}/part-[0].csv", folder) == ["part-[0].csv"]


def test_patterns_and_folders_without_a_file_are_told_what_a_source_is(folder: Path) -> None:
    (folder / "empty").mkdir()
    problems = Problems()

    assert not all_files([Source(f"{folder}/{name}", "train") for name in ("empty", "*.parquet")], problems)
    assert all("a folder of part files, or a pattern (wildcard)" in message for message in problems.messages())
    assert len(problems.messages()) == 2


@pytest.mark.parametrize("uri", ["hub:owner/name", "https://h/*.csv", "none.csv"])
def test_what_is_one_file_stays_it(uri: str) -> None:
    assert all_files([Source(uri, "train")], Problems()) == [Source(uri, "train")]
