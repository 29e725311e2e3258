"""Rows come out of every format with the place where a person finds them, and broken files are named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig
from tests.classifier.data.rows import Row, read_rows, write

DATA = DataConfig(train=["unused.csv"], labels={"1": "bad", "2": "good"})


def read(path: Path | str, data: DataConfig = DATA, **settings: Any) -> tuple[list[Row], list[str]]:
    problems = Problems()
    data = data.model_copy(update=settings)
    return read_rows(Source(str(path), "train"), data, problems), problems.messages()


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
    assert "Set `encoding`" in problem


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
def test_unicode_is_read_however_it_is_written(tmp_path: Path, name: str, encoding: str, end: str) -> None:
    texts = ["très bien", "好吃", "отлично", "fine"]
    lines = (
        [json.dumps({"text": text, "label": "1"}, ensure_ascii=False) for text in texts]
        if name == "a.jsonl"
        else ["text,label", *(f"{text},1" for text in texts)]
    )
    content = "".join(f"{line}{end}" for line in lines).encode(encoding)

    rows, problems = read(write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content))

    assert ([row.text for row in rows], problems) == (texts, [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["fine and dandy", "отлично", "अच्छा खाना", "好吃"])
def test_a_zero_byte_in_a_text_makes_no_other_encoding_of_it(tmp_path: Path, text: str, encoding: str) -> None:
    texts = [*[text] * 20, f"{text}\0", text]
    lines = "".join(f"{each},1\n" for each in texts)

    rows, problems = read(write(tmp_path / "a.csv", f"text,label\n{lines}".encode(encoding)))

    assert ([row.text for row in rows], problems) == (texts, [])


@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        ("gb18030", ["好吃", "难吃"]),
        ("shift_jis", ["美味しい", "まずい"]),
        ("cp1252", ["très bien", "voilà"]),
        ("euc-kr", ["맛있다", "별로다"]),
    ],
)
def test_a_declared_encoding_is_read_and_any_other_is_not_guessed(
    tmp_path: Path, encoding: str, texts: list[str]
) -> None:
    content = "text,label\n" + "".join(f"{text},1\n" for text in texts * 40)
    source = write(tmp_path / "a.csv", content.encode(encoding))

    rows, problems = read(source, encoding=encoding)
    assert ([row.text for row in rows], problems) == (texts * 40, [])

    (problem,) = read(source)[1]
    assert "the bytes are not UTF-8. Set `encoding`" in problem


def test_bytes_that_the_declared_encoding_does_not_have_are_one_problem(tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / "a.csv", b"text,label\nfine \xff\xff,1\n"), encoding="gb18030")[1]

    assert "holds bytes that are not gb18030" in problem


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.csv", b"PK\x03\x04rest", "is a workbook"),
        ("a.jsonl", b"PAR1rest", "is a Parquet file"),
        ("a.tsv", b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook of the old format"),
    ],
)
def test_what_is_no_text_is_called_by_its_kind(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    assert what in read(write(tmp_path / name, content))[1][0]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV.GZ", "a.csv.bz2"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_file_is_unpacked_by_what_it_holds_and_not_by_its_name(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    rows, problems = read(write(tmp_path / name, pack(b"text,label\nfine,1\n")))

    assert ([row.text for row in rows], problems) == (["fine"], [])


def test_a_record_may_lack_a_field_wherever_it_stands(tmp_path: Path) -> None:
    content = b'{"text": "a"}\n{"text": "b", "label": "1"}\n{"label": "1"}\n'

    rows, problems = read(write(tmp_path / "a.jsonl", content))

    assert ([(row.text, row.label) for row in rows], problems) == ([("a", None), ("b", "1"), (None, "1")], [])


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


def test_a_header_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    rows, (problem,) = read(write(tmp_path / "a.csv", "text\r,label\nfine,1\n"))

    assert rows == []
    assert "line 1: the quoting is broken in the row that begins here (new-line" in problem


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


@pytest.mark.parametrize(
    "first_row", ["1,Great food", f"{'a very long review ' * 9},none", "Great food was had,no", "a,sk-Great/key+"]
)
def test_text_in_place_of_a_header_is_not_repeated(tmp_path: Path, first_row: str) -> None:
    (problem,) = read(write(tmp_path / "a.csv", f"{first_row}\n2,Bad food\n"))[1]

    assert "header line" in problem
    assert "Great" not in problem
    assert "very long" not in problem


def test_of_many_columns_the_first_are_named(tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / "a.csv", ",".join(f"column {n}" for n in range(3000)) + "\n1\n"))[1]

    assert "'column 0', 'column 1', " in problem
    assert "'column 19', 2,980 more. Rename" in problem


def test_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / "a.csv", "text,label,text\na,1,b\n"))[1]

    assert "columns that stand there twice: 'text'" in problem


def test_file_that_only_claims_to_be_parquet_is_named(tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / "a.parquet", "text,label\nfine,1\n"))[1]

    assert problem.startswith(f"{tmp_path / 'a.parquet'}: is not a Parquet file")


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_columns_that_have_names_are_not_counted(tmp_path: Path, name: str) -> None:
    table = pa.table({"1": ["1"], "2": ["fine"]})
    if name == "a.jsonl":
        write(tmp_path / name, '{"1": "1", "2": "fine"}\n')
    else:
        parquet.write_table(table, tmp_path / name)

    assert read(tmp_path / name, text_column="2", label_column="1")[0][0][1:] == ("fine", "1")
    rows, (problem,) = read(tmp_path / name, text_column=2, label_column=1)
    assert rows == []
    assert "its columns have names, and the settings give their numbers" in problem
