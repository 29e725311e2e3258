"""The rows of all sources stand in their order with their places, whatever becomes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from include.classifier.data.problems import Problems
from include.classifier.data.rows import read_rows
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig

DATA = DataConfig(train=["unused.csv"], labels={"1": "bad", "2": "good"})


def test_rows_of_all_sources_are_cleaned_and_judged(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n" so   fine ",1.0\n')
    (tmp_path / "b.csv").write_text("text,label\nfine,2\nfine,3\n")
    (tmp_path / "c.jsonl").write_text('{"text": null, "label": "9"}\n')
    sources = [Source(str(tmp_path / "a.csv"), "train"), Source(str(tmp_path / "b.csv"), "train")]
    sources.append(Source(str(tmp_path / "c.jsonl"), "evaluation"))

    with read_rows(sources, DATA, Problems()) as rows:
        batches = list(rows.store.batches(np.ones(4), 1))

        assert [text for batch in batches for text in batch.column("text").to_pylist()] == [
            "so fine",
            "fine",
            "fine",
            "",
        ]
        assert rows.store.classes.tolist() == [0, 1, -1, -1]
        assert rows.store.reasons.tolist() == [0, 0, 2, 1]
        assert rows.counts() == [1, 2, 1]
        assert (rows.span("train"), rows.span("evaluation")) == (slice(0, 3), slice(3, 4))
        places = [f"{tmp_path}/a.csv line 2", f"{tmp_path}/b.csv line 2", f"{tmp_path}/b.csv line 3"]
        assert (
            str(rows.places(np.array([True, False, True, True])))
            == f"{places[0]}, {places[2]}, {tmp_path}/c.jsonl line 1"
        )
        assert str(rows.places(np.array([True] * 4))) == f"{', '.join(places)} and 1 more"
        assert not rows.places(np.array([False] * 4)).count


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    problems = Problems()
    sources = [Source(str(tmp_path / name), "train") for name in ("a.csv", "b.csv")]

    with read_rows(sources, DATA, problems) as rows:
        assert (len(rows.store), rows.counts()) == (0, [0, 0])

    assert [message.partition(":")[0] for message in problems.messages()] == [
        str(tmp_path / "a.csv"),
        str(tmp_path / "b.csv"),
    ]


def test_long_files_say_how_far_reading_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("include.classifier.data.rows._PROGRESS_ROWS", 2)
    monkeypatch.setattr("include.classifier.data.formats.lines.CHUNK_BYTES", 1)
    (tmp_path / "a.csv").write_text("text,label\n" + "fine,1\n" * 5)

    with read_rows([Source(str(tmp_path / "a.csv"), "train")], DATA, Problems()):
        pass

    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == [f"{tmp_path / 'a.csv'}: {rows} rows read." for rows in (2, 4)]


def test_no_text_lies_in_the_folder_for_temporary_files_under_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (tmp_path / "a.csv").write_text("text,label\nfine,1\n")

    with read_rows([Source(str(tmp_path / "a.csv"), "train")], DATA, Problems()) as rows:
        assert len(rows.store) == 1
        assert not list(folder.iterdir())  # a process that is killed takes its files with it


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "hub"])
def test_texts_of_several_columns_are_one(tmp_path: Path, name: str) -> None:
    table = pa.table({"body": ["long", "", None, "x"], "label": ["1"] * 4, "title": ["Short", "only", "None", ""]})
    path = tmp_path / name
    if name == "a.csv":
        csv.write_csv(table, path)
    elif name == "a.jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif name == "a.parquet":
        parquet.write_table(table, path)
    else:
        path.mkdir()
        parquet.write_table(table, path / "train.parquet")
    data = DATA.model_copy(update={"text_column": ["title", "body"], "text_separator": ". "})
    uri = f"hub:{path}" if name == "hub" else str(path)

    with read_rows([Source(uri, "train")], data, problems := Problems()) as rows:
        found = [text for batch in rows.store.batches(np.ones(4), 1) for text in batch.column("text").to_pylist()]

    assert (found, problems.messages()) == (["Short. long", "only", "None", "x"], [])


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([("a" * 5, "1")], "first 1 rows: 5 to 5 characters, half at most 5, 95 % at most 5; labels: bad 1."),
        (
            [("é" * n, "2" if n % 4 else "secret") for n in range(1, 101)],
            "first 100 rows: 1 to 100 characters, half at most 50, 95 % at most 95; labels: good 75; not known 25.",
        ),
        (
            [("private", "1"), ("  ", "2"), *[("private", "2")] * 1500],
            "first 1,000 rows: 0 to 7 characters, half at most 7, 95 % at most 7; labels: good 999, bad 1.",
        ),
        (
            [("private", "secret")],
            "first 1 rows: 7 to 7 characters, half at most 7, 95 % at most 7; labels: none; not known 1.",
        ),
    ],
)
@pytest.mark.parametrize("chunk", [64, 1 << 20])
def test_first_rows_are_told_in_numbers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rows: list[tuple[str, str]],
    line: str,
    chunk: int,
) -> None:
    monkeypatch.setattr("include.classifier.data.formats.lines.CHUNK_BYTES", chunk)
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    with read_rows([Source(str(tmp_path / "a.csv"), "train")], DATA, Problems()):
        pass

    assert capsys.readouterr().out == f"train, {line}\n"
