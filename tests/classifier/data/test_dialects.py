"""Random tables, written in every dialect that the docs name, are read back row by row."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from openpyxl import Workbook
from pyarrow import parquet

from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig
from tests.classifier.data.rows import read_rows

DATA = DataConfig(train=["unused"], text_column="the text", label_column="class", labels={"1": "bad", "2": "good"})
PIECES = (
    *("good", "bad", "a", "1", " ", "  ", ",", ";", "|", "'", '"', '""', "\\", "\\n", "#", "{", "[", "=", "-", "@"),
    *("\u00a0", "é", "e\u0301", "好吃", "отлично", "😀", "\u200b", "\u2028", "\ufeff", "NULL", "NaN"),
    *("\t", "\n", "\r\n", "\x0b", "\x1c", "\x85"),
)
ONE_LINE = tuple(piece for piece in PIECES if not {"\t", "\n", "\r\n"} & {piece})
#: XML has one kind of line break, and few control characters.
IN_CELLS = tuple(piece for piece in PIECES if piece not in ("\r\n", "\x0b", "\x1c"))
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030")
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


class Row(NamedTuple):
    text: str
    label: str


def table(rng: random.Random, pieces: tuple[str, ...]) -> list[Row]:
    return [
        Row("".join(rng.choices(pieces, k=rng.choice((0, 1, 3, 8, 40)))), rng.choice(("1", "2", "1.0", " 2 ", "no")))
        for _ in range(rng.choice((1, 2, 7, 60)))
    ]


class Written(NamedTuple):
    suffix: str
    content: str
    settings: Mapping[str, Any] = {}


def as_csv(rng: random.Random, rows: list[Row]) -> Written:
    order = rng.sample(range(3), 3)
    return Written(".csv", csv_of(rng, [("the text", "class", "id, or so"), *((*row, "") for row in rows)], order))


def as_csv_without_header(rng: random.Random, rows: list[Row]) -> Written:
    # The first row's label tells the delimiter.
    rows[0] = rows[0]._replace(label=rng.choice(("1", "2.0")))
    order = [1, *rng.sample((0, 2), 2)]
    settings = {"label_column": 1, "text_column": order.index(0) + 1}
    return Written(".csv", csv_of(rng, [(*row, "") for row in rows], order), settings)


def csv_of(rng: random.Random, rows: list[tuple[str, ...]], order: list[int]) -> str:
    file = io.StringIO(newline="")
    end = rng.choice(("\n", "\r\n"))
    writer = csv.writer(
        file,
        delimiter=rng.choice((",", ";", "\t", "|")),
        lineterminator=end,
        quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)),
    )
    file.write(end * rng.choice((0, 0, 1, 3)))
    for row in rows:
        writer.writerow([row[index] for index in order])
        file.write(end * (rng.random() < 0.05))
    content = file.getvalue()
    return content.rstrip("\r\n") if rng.random() < 0.2 and rows[-1][0] else content


def as_tsv(rng: random.Random, rows: list[Row]) -> Written:
    end = rng.choice(("\n", "\r\n"))
    has_header = rng.random() < 0.7
    lines = [*([Row("the text", "class")] if has_header else []), *rows]
    settings = {} if has_header else {"label_column": 1, "text_column": 2}
    return Written(".tsv", "".join(f"{label}\t{text}{end}" for text, label in lines), settings)


def as_json_lines(rng: random.Random, rows: list[Row]) -> Written:
    end, is_ascii = rng.choice(("\n", "\r\n")), rng.random() < 0.5
    records = ({"id": None, "class": label, "the text": text} for text, label in rows)
    content = "".join(json.dumps(each, ensure_ascii=is_ascii) + end for each in records)
    return Written(rng.choice((".jsonl", ".ndjson")), content)


def write_text(rng: random.Random, folder: Path) -> tuple[Path, list[Row], Mapping[str, Any]]:
    write = rng.choice((as_csv, as_csv_without_header, as_tsv, as_json_lines))
    rows = table(rng, PIECES if write is not as_tsv else ONE_LINE)
    written = write(rng, rows)
    encoding, packed = rng.choice(ENCODINGS), rng.choice(list(PACKED))
    path = folder / f"{rng.choice(('a', 'My données (1)', '100%25 #'))}{written.suffix}{packed}"
    path.write_bytes(PACKED[packed](written.content.encode(encoding)))
    is_shown = encoding.startswith("utf") and not encoding.endswith(("le", "be"))
    return path, rows, {**written.settings, "encoding": None if is_shown else encoding}


def write_parquet(rng: random.Random, folder: Path) -> tuple[Path, list[Row], Mapping[str, Any]]:
    rows = table(rng, PIECES)
    strings = rng.choice((pa.string(), pa.large_string(), pa.binary(), pa.string_view()))
    columns = [pa.array([value.encode() for value in column]).cast(strings) for column in zip(*rows, strict=True)]
    if rng.random() < 0.3 and not pa.types.is_string_view(strings):
        columns = [column.dictionary_encode() for column in columns]
    path = folder / f"a{rng.choice(('.parquet', '.PQ'))}"
    parquet.write_table(pa.table(dict(zip(("the text", "class"), columns, strict=True))), path)
    return path, rows, {}


def write_workbook(rng: random.Random, folder: Path) -> tuple[Path, list[Row], Mapping[str, Any]]:
    rows = table(rng, IN_CELLS)
    has_header = rng.random() < 0.7
    sheet = Workbook().active
    order = rng.sample(range(3), 3)
    empty = rng.choice((0, 0, 1, 3))
    header = [("the text", "class", "id, or so")] if has_header else []
    for number, row in enumerate((*header, *((*row, "id") for row in rows)), start=1 + empty):
        for column, place in enumerate(order, start=1):
            cell = sheet.cell(number, column, row[place])
            cell.data_type = "s"  # "=" begins a formula otherwise
    path = folder / f"a{rng.choice(('.xlsx', '.XLSX'))}"
    sheet.parent.save(path)
    settings = {} if has_header else {"text_column": order.index(0) + 1, "label_column": order.index(1) + 1}
    return path, rows, settings


@pytest.mark.parametrize(
    ("write", "size"),
    [*((write, size) for write in (write_text, write_parquet) for size in (1, 64, 4 << 20)), (write_workbook, 1)],
)
def test_what_is_written_is_what_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rounds: int,
    write: Callable[[random.Random, Path], tuple[Path, list[Row], Mapping[str, Any]]],
    size: int,
) -> None:
    monkeypatch.setattr("include.classifier.data.formats.lines.CHUNK_BYTES", size)
    monkeypatch.setattr("include.classifier.data.formats.parquet.CHUNK_BYTES", max(size, 64))
    monkeypatch.setattr("include.classifier.data.formats.workbook._BATCH_ROWS", 3)
    for seed in range(rounds * (4 if rounds < 20 else 200)):
        rng = random.Random(seed)
        path, rows, settings = write(rng, tmp_path)
        problems = Problems()

        found = read_rows(Source(str(path), "train"), DATA.model_copy(update=settings), problems)

        assert problems.messages() == [], (seed, path.name, settings)
        texts = [(_text(row.text), _text(row.label)) for row in found]
        assert texts == [(row.text, row.label) for row in rows], (seed, path.name, settings)
        path.unlink()


def _text(value: str | bytes | None) -> str:
    # A workbook has no cells that are there and empty.
    return value.decode() if isinstance(value, bytes) else value or ""
