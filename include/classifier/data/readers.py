"""Reads the rows of CSV, JSON Lines and Parquet files and of Hub data sets, in batches."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.class_folders import read_class_folders
from include.classifier.data.formats.content import no_text
from include.classifier.data.formats.delimited import read_delimited
from include.classifier.data.formats.delta import read_delta
from include.classifier.data.formats.hub import read_hub
from include.classifier.data.formats.json_lines import read_json_lines
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


class LineReader(Protocol):
    """Makes rows of the lines of a file."""

    def __call__(self, lines: Lines, source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
        """Yield them in batches."""


def read_batches(
    source: Source, data: DataConfig, problems: Problems, *, json_lines: LineReader = read_json_lines
) -> Iterator[Batch]:
    """Read a source; how much memory that takes does not depend on its rows.

    :param data: names the columns.
    :param problems: gathers what is wrong with the file; rows that cannot be read are left out.
    :param json_lines: reads JSON Lines.
    :raises DataError: when the file is not there or its format is unknown.
    :raises SourceUnavailableError: when its store does not hand it out.
    """
    if read_itself := _NO_FILES.get(source.format):
        yield from read_itself(source, data, problems)
        return
    with telling_of_broken_files(source, problems), source.open() as file:
        if read_table := _TABLES.get(source.format):
            yield from read_table(file, source, data, problems)
        elif lines := text_lines(file, source, data, problems):
            read = read_delimited if source.format in ("csv", "tsv") else json_lines
            yield from read(lines, source, data, problems)


def text_lines(file: IO[bytes], source: Source, data: DataConfig, problems: Problems) -> Lines | None:
    """Return the lines of a file; ``None`` where its first bytes show that it is no text, which is gathered."""
    lines = Lines(file, source, problems, data.encoding)
    if kind := no_text(lines.sample):
        problems.add(source.name, kind.what, kind.remedy)
        return None
    return lines


@contextmanager
def telling_of_broken_files(source: Source, problems: Problems) -> Iterator[None]:
    """Gather what ends the reading of a file that is compressed or encoded wrongly."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error):
        problems.add(source.name, "the compressed file is broken or incomplete", "Compress or copy it again.")
    except UnicodeDecodeError as error:
        remedy = "Check `encoding` in the model's `data`, and whether the file is whole."
        problems.add(source.name, f"holds bytes that are not {error.encoding}", remedy)
