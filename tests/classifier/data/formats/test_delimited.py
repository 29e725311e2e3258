"""What is read in chunks is what the csv module reads, and what is in doubt is left to it."""

from __future__ import annotations

import csv
import io
import random
from typing import Any

import pyarrow as pa
import pytest

from include.classifier.data.formats.delimited import Layout, read_chunk, read_delimited
from include.classifier.data.formats.lines import Lines
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig

DATA = DataConfig(train=["unused.csv"], labels={"1": "bad", "2": "good"})
LAYOUT = Layout(delimiter=",", quoted=True, columns=2, texts=(0,), label=1, longest_field=50)


def rows_of(chunk: bytes) -> list[tuple[int, str, str]] | None:
    found = read_chunk(chunk, LAYOUT, 2)
    if found is None:
        return None
    texts, labels = (column.to_pylist() for column in (found.batch.texts[0], found.batch.labels))  # type: ignore[union-attr]
    return list(zip(found.batch.numbers.tolist(), texts, labels, strict=True))


def test_rows_carry_the_line_they_begin_in() -> None:
    chunk = b'a,1\n\n"two\r\nlines, ""quoted""",2\r\n\r\n"",1\n"""x""",2\n'

    assert rows_of(chunk) == [(2, "a", "1"), (4, 'two\r\nlines, "quoted"', "2"), (7, "", "1"), (8, '"x"', "2")]


def test_row_that_does_not_end_in_the_chunk_is_left() -> None:
    found = read_chunk(b'a,1\n"b\n', LAYOUT, 2)

    assert found is not None
    assert (found.batch.numbers.tolist(), found.lines, found.size) == ([2], 1, 4)


@pytest.mark.parametrize(
    "chunk",
    [
        b"a,1,2\n",
        b"a\n",
        b'a "b",1\n',
        b'"a"b,1\n',
        b' "a",1\n',
        b'"a" ,1\n',
        b"a\rb,1\n",
        b"a\0,1\n",
        b"\xe9,1\n",
        b"\xef\xbb\xbfa,1\n",
        b"x" * 60 + b",1\n",
        b'"never closed,1\n',
        b"no end",
    ],
)
def test_what_is_in_doubt_is_not_read_in_a_chunk(chunk: bytes) -> None:
    assert rows_of(chunk) is None


def read(content: bytes, name: str = "a.csv") -> tuple[list[tuple[int, str, str]], list[str], list[bool]]:
    """Return rows and problems, and for each batch whether it was read at once."""
    problems = Problems()
    source = Source(name, "train")
    rows, at_once = [], []
    for batch in read_delimited(Lines(io.BytesIO(content), source, problems), source, DATA, problems):
        at_once.append(isinstance(batch.texts[0], pa.Array))
        columns = [each.to_pylist() if isinstance(each, pa.Array) else each for each in (*batch.texts, batch.labels)]
        rows += list(zip(batch.numbers.tolist(), *columns, strict=True))
    return rows, problems.messages(), at_once


def test_reading_goes_on_at_once_behind_a_row_that_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.classifier.data.formats.lines.CHUNK_BYTES", 1)

    rows, problems, at_once = read(b'text,label\na,1\nb "c" d,2\n"two\nlines",1\ne,2\n')

    assert rows == [(2, "a", "1"), (3, 'b "c" d', "2"), (4, "two\nlines", "1"), (6, "e", "2")]
    assert (problems, at_once) == ([], [True, False, False, True])


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_chunks_of_any_size_give_the_rows_of_the_csv_module(
    monkeypatch: pytest.MonkeyPatch, line_end: str, delimiter: str
) -> None:
    rng = random.Random(1)
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(["label", "id", "text"])
    for number in range(500):
        text = "".join(rng.choices(["good", " ", ",", '"', "\n", "\r\n", "\t", "é"], k=rng.randrange(6)))
        writer.writerow([rng.choice("12"), number, text])
        file.write(line_end * (rng.random() < 0.1))
    content = file.getvalue()
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
    expected, line = [], 1
    for record in reader:
        expected += [(line, record[2], record[0])] if record else []
        line = reader.line_num + 1

    for size in (1, 30, 1000, 1 << 20):
        monkeypatch.setattr("include.classifier.data.formats.lines.CHUNK_BYTES", size)
        rows, problems, at_once = read(content.encode())

        assert (rows, problems) == (expected[1:], [])
        assert any(at_once)
    assert at_once == [True]


@pytest.mark.parametrize("size", [1, 40, 1 << 20])
def test_in_a_tsv_a_quotation_mark_is_a_character_like_any_other(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("include.classifier.data.formats.lines.CHUNK_BYTES", size)
    texts = ['"begins', "plain", 'ends"', '"both"', 'a ""doubled"" one', '"', "", "'", 'in "the" middle']
    content = "text\tlabel\n" + "".join(f"{text}\t1\n" for text in texts)

    rows, problems, at_once = read(content.encode(), "a.tsv")

    assert ([text for _, text, _ in rows], problems) == (texts, [])
    assert all(at_once)


def test_a_tsv_with_a_line_break_in_quotation_marks_is_refused_with_what_to_do() -> None:
    _, problems, _ = read(b'text\tlabel\n"two\nlines"\t1\n', "a.tsv")

    assert "line 2: the row has 1 fields" in problems[0]
    assert "write texts with tabs or line breaks as .csv" in problems[0]


@pytest.mark.parametrize("before", [b"\n", b"\r\n\n", b"\xef\xbb\xbf\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_empty_lines_before_the_header_are_none(before: bytes, name: str) -> None:
    delimiter = b"," if name == "a.csv" else b"\t"

    rows, problems, _ = read(before + b"text,label\nfine,1\n".replace(b",", delimiter), name)

    assert (rows, problems) == ([(2 + before.count(b"\n"), "fine", "1")], [])


def test_a_file_of_empty_lines_is_said_to_be_one() -> None:
    assert read(b"\n\n")[1] == ["a.csv: holds nothing but empty lines. Check whether writing it has failed."]


def test_another_delimiter_counts_only_where_it_gives_the_columns() -> None:
    assert read(b'label;text\n1;"so; fine"\n')[0] == [(2, "so; fine", "1")]
    assert read(b"a;text,label\n1,2\n")[1][0].startswith("a.csv: missing columns: 'text'")


def read_without_header(content: str, name: str = "a.csv", **settings: Any) -> tuple[list[tuple[Any, ...]], list[str]]:
    problems = Problems()
    source = Source(name, "train")
    data = DataConfig(train=[name], labels=["1", "3"], **{"text_column": 2, "label_column": 1, **settings})
    rows: list[tuple[Any, ...]] = []
    for batch in read_delimited(Lines(io.BytesIO(content.encode()), source, problems), source, data, problems):
        columns = [pa.array(column).to_pylist() for column in (*batch.texts, batch.labels)]
        rows += zip(batch.numbers.tolist(), *columns, strict=True)
    return rows, problems.messages()


@pytest.mark.parametrize(
    ("content", "settings", "rows"),
    [
        ('"3","a, b","c"\n"1","d","e\nf"\n', {"text_column": [2, 3]}, [(1, "a, b", "c", "3"), (2, "d", "e\nf", "1")]),
        ("\n\r\n1,a\r\n3,b", {}, [(3, "a", "1"), (4, "b", "3")]),
        ("\ufeff1,a\n", {}, [(1, "a", "1")]),
        ("3;a, b\n1;c\n", {}, [(1, "a, b", "3"), (2, "c", "1")]),
        ("a, b|c|1\n", {"text_column": 1, "label_column": 3}, [(1, "a, b", "1")]),
        ("1\t,-,\n3\ta\n", {}, [(1, ",-,", "1"), (2, "a", "3")]),
        ("none,a;b\n1,c\n", {}, [(1, "a;b", "none"), (2, "c", "1")]),
        ("text,label\n1,a\n", {"name": "a.csv"}, [(1, "label", "text"), (2, "a", "1")]),
        ('1\t"a\n3\tb"\n', {"name": "a.tsv"}, [(1, '"a', "1"), (2, 'b"', "3")]),
    ],
)
def test_files_without_a_header_are_read_by_column_numbers(
    content: str, settings: dict[str, Any], rows: list[tuple[Any, ...]]
) -> None:
    assert read_without_header(content, **settings) == (rows, [])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "a.csv: the file is empty"),
        ("\n\n", "a.csv: holds nothing but empty lines"),
        ("\n1,a\r,secret\n", "a.csv, line 1: the quoting is broken in the row that begins here (new-line"),
        ("1,secret\n", "a.csv: has 2 columns, and the settings ask for number 3. Check text_column"),
        ("1,a,b\n3,c\n", "a.csv, line 2: the row has 2 fields, the first row has 3"),
    ],
)
def test_files_without_a_header_that_lack_columns_are_named(content: str, problem: str) -> None:
    (message,) = read_without_header(content, text_column=[2, 3])[1]
    assert message.startswith(problem)
    assert "secret" not in message
