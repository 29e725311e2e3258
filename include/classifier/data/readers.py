"""Reads the rows of CSV, JSON Lines and Parquet files and of Hub data sets, in batches."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.class_folders import read_class_folders
from include.classifier.data.formats.content import no_text
from include.classifier.data.formats.delimited import read_delimited
from include.classifier.data.formats.delta import read_delta
from include.classifier.data.formats.headers import has_columns
from include.classifier.data.formats.hub import read_hub
from include.classifier.data.formats.lines import Lines
from include.classifier.data.formats.parquet import read_parquet
from include.classifier.data.formats.workbook import read_workbook
from include.classifier.data.problems import Problems
from include.classifier.data.sources import CLASS_FOLDERS, DELTA, Source
from include.contracts.settings import DataConfig

#: Format of what is no single file -> what reads it.
_NO_FILES = {"hub": read_hub, CLASS_FOLDERS: read_class_folders, DELTA: read_delta}
#: Format of what is no text -> what reads it.
_TABLES = {"parquet": read_parquet, "xlsx": read_workbook}
#: Names of fields that are remembered of a file whose records have others each.
_FIELDS = 1000


def read_batches(source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    """Read a source; how much memory that takes does not depend on its rows.

    :param data: names the columns.
    :param problems: gathers what is wrong with the file; rows that cannot be read are left out.
    :raises DataError: when the file is not there or its format is unknown.
    :raises SourceUnavailableError: when its store does not hand it out.
    """
    if read_itself := _NO_FILES.get(source.format):
        yield from read_itself(source, data, problems)
        return
    try:
        with source.open() as file:
            if read_table := _TABLES.get(source.format):
                yield from read_table(file, source, data, problems)
            else:
                lines = Lines(file, source, problems, data.encoding)
                if kind := no_text(lines.sample):
                    problems.add(source.name, kind.what, kind.remedy)
                    return
                read = read_delimited if source.format in ("csv", "tsv") else _read_json_lines
                yield from read(lines, source, data, problems)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error):
        problems.add(source.name, "the compressed file is broken or incomplete", "Compress or copy it again.")
    except UnicodeDecodeError as error:
        remedy = "Check `encoding` in the model's `data`, and whether the file is whole."
        problems.add(source.name, f"holds bytes that are not {error.encoding}", remedy)


def _read_json_lines(lines: Lines, source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    import numpy as np

    fields: dict[str, None] = {}  # in the order in which they came
    while lines.look_ahead():
        numbers, labels = [], []
        texts: list[list[Any]] = [[] for _ in data.text_columns]
        for line in lines:
            record = _json_object(line, lines.number, source, problems)
            if record is not None:
                # What is null may be left out, in the first record as well.
                fields |= dict.fromkeys(record) if len(fields) < _FIELDS else {}
                numbers.append(lines.number)
                for column, name in zip(texts, data.text_columns, strict=True):
                    column.append(record.get(name))
                labels.append(record.get(data.columns[-1]))
            if not lines.looked_ahead:
                break
        if numbers and not has_columns(list(fields), source, data, problems):
            return
        yield Batch(np.array(numbers, dtype=np.int64), texts, labels)


def _json_object(line: str, number: int, source: Source, problems: Problems) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        return record
    problems.add(
        source.name,
        "the line is not a JSON object",
        'Write one object to a line, such as {"text": "...", "label": "..."}; a JSON array is not JSON Lines. With '
        'pandas: to_json(path, orient="records", lines=True).',
        place=source.place(number),
    )
    return None
