"""Rows come out of every format with the place where a person finds them, and broken files are named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.classifier.data.problems import DataError, Problems
from include.classifier.data.readers import read_batches
from include.classifier.data.sources import Source, SplitName
from include.contracts.settings import DataConfig

DATA = DataConfig(train=["unused.csv"], labels={"1": "bad", "2": "good"})


class Row(NamedTuple):
    number: int
    text: Any
    label: Any


def read_rows(source: Source, data: DataConfig, problems: Problems) -> list[Row]:
    rows: list[Row] = []
    for batch in read_batches(source, data, problems):
        texts, labels = (
            column.to_pylist() if isinstance(column, pa.Array) else column for column in (batch.texts, batch.labels)
        )
        rows += [Row(*values) for values in zip(batch.numbers.tolist(), texts, labels, strict=True)]
    return rows


def read(path: Path | str, data: DataConfig = DATA) -> tuple[list[Row], list[str]]:
    problems = Problems()
    return read_rows(Source(str(path), "train"), data, problems), problems.messages()


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_rows_carry_the_line_they_begin_in(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", 'id,label,text\r\n7,1,"two\r\nlines, ""quoted"""\r\n\r\n8,2,next\r\n')

    assert read(file) == ([Row(2, 'two\r\nlines, "quoted"', "1"), Row(5, "next", "2")], [])


def test_byte_order_mark_of_a_spreadsheet_export_is_no_part_of_the_header(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "\ufefftext,label\nfine,1\n")

    assert read(file) == ([Row(2, "fine", "1")], [])


def test_tsv_is_read_with_tabs(tmp_path: Path) -> None:
    file = write(tmp_path / "a.tsv", "text\tlabel\nfine, really\t1\n")

    assert read(file) == ([Row(2, "fine, really", "1")], [])


def test_json_lines_keep_types_and_count_empty_lines(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '{"text": "fine", "label": 1}\n\n{"label": 2.0}\n')

    assert read(file) == ([Row(1, "fine", 1), Row(3, None, 2.0)], [])


def test_parquet_rows_carry_the_index_across_row_groups(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    table = pa.table({"label": [1, 2, 1], "text": ["a", None, "c"], "other": [0, 0, 0]})
    parquet.write_table(table, file, row_group_size=2)

    assert read(file) == ([Row(0, "a", 1), Row(1, None, 2), Row(2, "c", 1)], [])


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files_are_read(tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    file = write(tmp_path / f"a.csv{suffix}", compress(b"text,label\nfine,1\n"))

    assert read(file) == ([Row(2, "fine", "1")], [])


def test_compressed_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv.gz", gzip.compress(b"text,label\nfine,1\n")[:-6])

    assert read(file)[1] == [f"{file}: the compressed file is broken or incomplete. Compress or copy it again."]


def test_other_column_names_come_from_the_settings(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "stars,review\n1,fine\n")
    data = DATA.model_copy(update={"text_column": "review", "label_column": "stars"})

    assert read(file, data) == ([Row(2, "fine", "1")], [])


def test_bytes_that_are_not_utf8_are_all_named(tmp_path: Path) -> None:
    content = "text,label\nfine,1\ncafé,1\nfine,2\nvoilà,2\n".encode("latin-1")

    rows, problems = read(write(tmp_path / "a.csv", content))

    assert [row.number for row in rows] == [2, 3, 4, 5]
    (problem,) = problems
    assert "line 3 (byte 22), line 5 (byte 37): the bytes are not UTF-8" in problem
    assert content[21:22] == b"\xe9"
    assert content[36:37] == b"\xe0"
    assert "iconv" in problem


def test_utf16_is_one_problem(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path / "a.csv", "text,label\nfine,1\n".encode("utf-16")))

    assert rows == []
    assert len(problems) == 1
    assert "line 1 (byte 1): the bytes are not UTF-8" in problems[0]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('text,label\nfine,1\n"never closed,1\nfine,2\n', 3),
        ('text,label\n"closed" too early,1\n', 2),
        ('text,label\n"swallows,1\n"the next",2\n', 2),
    ],
)
def test_broken_quoting_is_named_by_the_line_where_the_row_begins(tmp_path: Path, content: str, line: int) -> None:
    (problem,) = read(write(tmp_path / "a.csv", content))[1]

    assert f"a.csv, line {line}: the quoting is broken" in problem


def test_quote_that_is_never_closed_does_not_eat_a_large_file(tmp_path: Path) -> None:
    data = DATA.model_copy(update={"max_text_characters": 1000})
    content = 'text,label\n"never closed,1\n' + "fine and dandy,2\n" * 100_000

    (problem,) = read(write(tmp_path / "a.csv", content), data)[1]

    assert "line 2: the quoting is broken" in problem


def test_ragged_rows_are_all_named_in_one_problem(tmp_path: Path) -> None:
    content = "text,label\n" + "fine,1\n" + "good, but dear,2\n" * 5 + "fine,2\n"

    rows, problems = read(write(tmp_path / "a.csv", content))

    assert [row.number for row in rows] == [2, 8]
    assert len(problems) == 1
    assert "line 3, line 4, line 5 and 2 more: the row has 3 fields, the header has 2" in problems[0]


def test_lines_that_are_no_json_objects_are_all_named(tmp_path: Path) -> None:
    content = '{"text": "fine", "label": 1}\n{"text": "secret review"\n[1, 2]\n' + "[" * 100_000 + "\n"

    rows, problems = read(write(tmp_path / "a.jsonl", content))

    assert rows == [Row(1, "fine", 1)]
    (problem,) = problems
    assert "line 2, line 3, line 4: the line is not a JSON object" in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "id,review\n1,x\n"), ("a.jsonl", '{"id": 1, "review": "x"}\n')]
)
def test_missing_columns_are_named_beside_those_that_are_there(tmp_path: Path, name: str, content: str) -> None:
    (problem,) = read(write(tmp_path / name, content))[1]

    assert "missing columns: 'text', 'label'; there are: 'id', 'review'. Rename" in problem


def test_missing_column_of_a_parquet_file_is_named(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"text": ["x"], "stars": [1]}), tmp_path / "a.parquet")

    (problem,) = read(tmp_path / "a.parquet")[1]

    assert "missing columns: 'label'; there are: 'text', 'stars'" in problem


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_empty_file_is_named(tmp_path: Path, name: str) -> None:
    (problem,) = read(write(tmp_path / name, ""))[1]

    assert f"{name}: the file is empty" in problem


@pytest.mark.parametrize("first_row", ["1,Great food", f"{'a very long review ' * 9},none"])
def test_text_in_place_of_a_header_is_not_repeated(tmp_path: Path, first_row: str) -> None:
    (problem,) = read(write(tmp_path / "a.csv", f"{first_row}\n2,Bad food\n"))[1]

    assert "header line" in problem
    assert "Great" not in problem
    assert "very long" not in problem


def test_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / "a.csv", "text,label,text\na,1,b\n"))[1]

    assert "columns that stand there twice: 'text'" in problem


def test_file_that_only_claims_to_be_parquet_is_named(tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / "a.parquet", "text,label\nfine,1\n"))[1]

    assert problem.startswith(f"{tmp_path / 'a.parquet'}: is not a Parquet file")


class TestHub:
    """The datasets library takes a folder of that name for the data set, so no Hub is needed."""

    @pytest.fixture(autouse=True)
    def dataset(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "owner" / "reviews"
        folder.mkdir(parents=True)
        for split in ("train", "test"):
            rows = [{"text": f"{split} {number}", "label": number} for number in (1, 2)]
            write(folder / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    @pytest.mark.parametrize(
        ("uri", "split", "first"),
        [
            ("hub:owner/reviews", "train", "train 1"),
            ("hub:owner/reviews", "evaluation", "test 1"),
            ("hub:owner/reviews:test", "train", "test 1"),
        ],
    )
    def test_split_is_the_one_named_or_the_usual_one(self, uri: str, split: SplitName, first: str) -> None:
        rows = read_rows(Source(uri, split), DATA, Problems())

        assert rows == [Row(0, first, 1), Row(1, first.replace("1", "2"), 2)]

    def test_unknown_split_is_named_with_those_that_are_there(self) -> None:
        with pytest.raises(DataError, match=r"hub:owner/reviews:dev: split 'dev' cannot be read.*test"):
            read("hub:owner/reviews:dev")

    def test_missing_columns_are_named(self) -> None:
        problems = read("hub:owner/reviews", DATA.model_copy(update={"text_column": "review"}))[1]

        assert problems[0].startswith("hub:owner/reviews: missing columns: 'review'; there are: 'text', 'label'.")

    def test_classes_are_found_by_number_or_by_name(self, tmp_path: Path) -> None:
        from datasets import ClassLabel, Dataset, Features, Value

        features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
        folder = tmp_path / "owner" / "named"
        folder.mkdir()
        rows = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
        rows.to_parquet(folder / "train.parquet")

        by_number = DATA.model_copy(update={"labels": {"0": "bad", "1": "good"}})
        by_name = DATA.model_copy(update={"labels": {"good": "+", "bad": "-"}})

        assert [row.label for row in read("hub:owner/named", by_number)[0]] == [0, 1]
        assert [row.label for row in read("hub:owner/named", by_name)[0]] == ["bad", "good"]
