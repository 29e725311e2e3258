from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.classifier.batch.output import Output
from include.classifier.batch.planning import Marks, divide
from include.classifier.data.problems import DataError
from tests.classifier.batch.scorers import plan


def marks(rows: int, *, first: int = 0, stride: int = 1) -> Marks:
    found = Marks()
    found.stride = stride
    found.add(range(first, first + rows))
    return found


@pytest.mark.parametrize(
    ("files", "shard_rows", "rows"),
    [
        ([10], 100, [10]),
        ([10], 5, [5, 5]),
        ([10], 4, [4, 3, 3]),
        ([10], 1, [1] * 10),
        ([3, 3, 3], 4, [3, 3, 3]),
        ([1, 1, 1, 1], 2, [2, 2]),
        ([5, 0, 5], 5, [5, 5]),
        ([0, 4], 2, [2, 2]),
        ([4, 0], 2, [2, 2]),
        ([2, 9], 4, [4, 4, 3]),
    ],
)
def test_every_row_is_in_one_shard(files: list[int], shard_rows: int, rows: list[int]) -> None:
    shards = divide([marks(count, first=2) for count in files], shard_rows)

    assert [shard.rows for shard in shards] == rows
    found = [
        (span.file, number)
        for shard in shards
        for span in shard.spans
        for number in range(2, 2 + files[span.file])
        if span.begin <= number and (span.end is None or number < span.end)
    ]
    assert found == [(file, number) for file, count in enumerate(files) for number in range(2, 2 + count)]
    # Lines before a file's first row and behind its last one belong to a shard as well.
    for file in range(len(files)):
        spans = [span for shard in shards for span in shard.spans if span.file == file]
        assert [span.begin for span in spans] == [0, *(span.end for span in spans[:-1])]
        assert spans[-1].end is None


def test_a_large_file_is_divided_at_fewer_places() -> None:
    found = Marks()
    for begin in range(0, 300_000, 7_001):
        found.add(range(begin, min(begin + 7_001, 300_000)))

    assert found.rows == 300_000
    assert found.numbers == list(range(0, 300_000, found.stride))
    shards = divide([found], 90_000)
    assert sum(shard.rows for shard in shards) == 300_000
    assert [shard.rows for shard in shards] == pytest.approx([75_000] * 4, abs=found.stride)


def test_the_plan_pins_what_is_there(tmp_path: Path) -> None:
    data = tmp_path / "reviews.csv"
    data.write_text("id,text\n1,good\n2,bad\n3,\n4,worse\n")

    found = plan(tmp_path / "out", data, shard_rows=2)

    assert (found.rows, found.unreadable, found.format) == (4, 0, "csv")
    assert [(column.name, column.type) for column in found.columns] == [("id", "string"), ("text", "string")]
    assert found.files[0].size_bytes == data.stat().st_size
    assert Output(str(tmp_path / "out")).plan() == found
    assert plan(tmp_path / "out", data, shard_rows=2) == found, "the second time it is carried on"


def test_fields_of_records_have_one_type_in_all_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.jsonl").write_text('{"text": "a", "n": 1, "m": 1, "b": true, "o": null}\n{"text": "b", "m": "x"}\n')
    (folder / "2.jsonl").write_text(f'{{"text": "c", "n": 1.5, "w": {2**62}, "t": {{"a": 1}}}}\n')

    found = plan(tmp_path / "out", folder)

    types = {column.name: column.type for column in found.columns}
    assert types == {
        "text": "string",
        "n": "float64",
        "m": "json",
        "b": "bool",
        "o": "null",
        "w": "int64",
        "t": "json",
    }


def bad_inputs(tmp_path: Path) -> dict[str, Any]:
    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path

    parquet.write_table(pa.table({"title": ["a"]}), tmp_path / "t.parquet")
    parquet.write_table(pa.table({"text": [5]}), tmp_path / "n.parquet")
    write("two/1.csv", "text,a\nx,y\n")
    write("two/2.csv", "text,b\nx,y\n")
    write("mixed/1.csv", "text,a\nx,y\n")
    write("mixed/2.jsonl", '{"text": "x"}\n')
    return {
        "missing columns: 'text'": write("a.csv", "id,title\n1,x\n"),
        "missing columns: 'text'; there are: 'title'": tmp_path / "t.parquet",
        "columns that hold no texts: 'text' is int64": tmp_path / "n.parquet",
        "missing columns: 'text'; there are: 'titel'": write("b.jsonl", '{"titel": "x"}\n'),
        "has other columns": tmp_path / "two",
        "is csv and jsonl": tmp_path / "mixed",
        "has no row that can be read": write("c.csv", "text,a\n"),
        "the quoting is broken": write("d.csv", 'text,a\n"never closed,b\n'),
        "has columns that predictions are written to": write("e.csv", "text,predicted_label\nx,y\n"),
        "written to: Predicted_Label": write("i.csv", "text,Predicted_Label\nx,y\n"),
        "the name does not tell the format": write("f.bin", "x"),
        "not found": tmp_path / "nothing.csv",
        "stand there twice": write("g.csv", "text,a,a\nx,y,z\n"),
        "is xlsx": write("h.xlsx", "x"),
        "holds a user, a password or a signature": "https://me:secret@host/x.csv",
    }


@pytest.mark.parametrize("what", [
    "missing columns: 'text'", "missing columns: 'text'; there are: 'title'",
    "missing columns: 'text'; there are: 'titel'", "has other columns", "is csv and jsonl",
    "has no row that can be read", "the quoting is broken", "has columns that predictions are written to",
    "written to: Predicted_Label", "columns that hold no texts: 'text' is int64",
    "the name does not tell the format", "not found", "stand there twice", "is xlsx",
    "holds a user, a password or a signature",
])  # fmt: skip
def test_what_cannot_be_scored_is_refused_before_anything_is_written(tmp_path: Path, what: str) -> None:
    with pytest.raises(DataError) as caught:
        plan(tmp_path / "out", bad_inputs(tmp_path)[what])

    assert what in str(caught.value)
    assert "secret@" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"version": "20260202000000"}, "another version"),
        ({"archive_sha256": "1" * 64}, "another archive_sha256"),
        ({"text_column": "title"}, "another text_columns, another reading_sha256"),
        ({"max_text_characters": 5}, "another reading_sha256"),
    ],
)
def test_a_folder_is_gone_on_with_for_the_same_prediction_alone(
    tmp_path: Path, changed: dict[str, Any], named: str
) -> None:
    data = tmp_path / "reviews.csv"
    data.write_text("text,title\ngood,a\n")
    plan(tmp_path / "out", data)

    with pytest.raises(DataError, match=named):
        plan(tmp_path / "out", data, **changed)


def test_a_file_that_came_later_is_another_input(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.csv").write_text("text,a\nx,y\n")
    plan(tmp_path / "out", folder)
    (folder / "2.csv").write_text("text,a\nx,y\n")

    with pytest.raises(DataError, match="another files"):
        plan(tmp_path / "out", folder)
