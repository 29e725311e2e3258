"""Reads the rows of CSV, JSON Lines and Parquet files and of Hub data sets, one after the other."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from include.classifier.problems import DataError, Problems, SourceUnavailableError
from include.classifier.sources import HUB_PREFIX, Source
from include.models.model_config import DataConfig

#: Split of a Hub data set when its id names none.
DEFAULT_HUB_SPLITS = {"train": "train", "evaluation": "test"}
_LONGEST_COLUMN_NAME = 40


class Row(NamedTuple):
    """A row as it stands in the source; values are whatever the format gave."""

    number: int
    text: Any
    label: Any


def read_rows(source: Source, data: DataConfig, problems: Problems) -> Iterator[Row]:
    """Read a source row by row.

    :param data: names the columns.
    :param problems: gathers what is wrong with the file; rows that cannot be read are left out.
    :raises DataError: when the file is not there or its format is unknown.
    :raises SourceUnavailableError: when its store does not hand it out.
    """
    if source.format == "hub":
        yield from _read_hub(source, data, problems)
        return
    try:
        with source.open() as file:
            yield from _READERS[source.format](file, source, data, problems)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error):
        problems.add(source.name, "the compressed file is broken or incomplete", "Compress or copy it again.")


def _read_csv(file: IO[bytes], source: Source, data: DataConfig, problems: Problems) -> Iterator[Row]:
    # The csv module's own limit is 131,072; without any, a quotation mark that is never closed eats the whole file.
    csv.field_size_limit(max(131_072, 2 * data.max_text_characters))
    reader = csv.reader(_lines(file, source, problems), strict=True, delimiter="\t" if source.format == "tsv" else ",")
    line = 1
    try:
        header = next(reader, None)
        if not header or not _has_columns(header, source, data, problems):
            return
        text_index, label_index = header.index(data.text_column), header.index(data.label_column)
        line = reader.line_num + 1
        for record in reader:
            if len(record) == len(header):
                yield Row(line, record[text_index], record[label_index])
            elif record:  # an empty line is none
                _report_ragged(source, line, len(record), len(header), problems)
            line = reader.line_num + 1
    except csv.Error as error:
        problems.add(
            source.name,
            f"the quoting is broken in the row that begins here ({error})",
            'Put texts in "quotation marks", double those inside them (""), and close each.',
            place=source.place(line),
        )


def _report_ragged(source: Source, line: int, found: int, expected: int, problems: Problems) -> None:
    problems.add(
        source.name,
        f"the row has {found} fields, the header has {expected}",
        "Put texts that contain the delimiter or a line break in quotation marks.",
        place=source.place(line),
    )


def _read_json_lines(file: IO[bytes], source: Source, data: DataConfig, problems: Problems) -> Iterator[Row]:
    checked = False
    for number, line in enumerate(_lines(file, source, problems), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            problems.add(
                source.name,
                "the line is not a JSON object",
                'Write one object to a line, such as {"text": "...", "label": "..."}; a JSON array is not JSON Lines.',
                place=source.place(number),
            )
            continue
        if not checked and not _has_columns(list(record), source, data, problems):
            return
        checked = True
        yield Row(number, record.get(data.text_column), record.get(data.label_column))


def _lines(file: IO[bytes], source: Source, problems: Problems) -> Iterator[str]:
    """Decode line by line, to tell where the bytes are wrong, and go on behind them to find all such lines."""
    offset = 0
    for number, line in enumerate(file, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            problems.add(
                source.name,
                "the bytes are not UTF-8",
                "Save the file as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8.",
                place=f"{source.place(number)} (byte {offset + error.start + 1})",
            )
            if number == 1:
                return  # nothing below a header that cannot be read makes sense
            yield line.decode("utf-8", errors="replace")
        offset += len(line)
    if not offset:
        problems.add(source.name, "the file is empty", "Check whether writing it has failed.")


def _read_parquet(file: IO[bytes], source: Source, data: DataConfig, problems: Problems) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        if _has_columns(table.schema_arrow.names, source, data, problems):
            yield from _table_rows(table.iter_batches(columns=[data.text_column, data.label_column]), data)
    except pa.ArrowException:
        problems.add(source.name, "is not a Parquet file that can be read", "Write it again, or check its ending.")


def _read_hub(source: Source, data: DataConfig, problems: Problems) -> Iterator[Row]:
    name, _, split = source.uri.removeprefix(HUB_PREFIX).partition(":")
    split = split or DEFAULT_HUB_SPLITS[source.split]
    dataset = _load_hub(source, name, split)
    if not _has_columns(dataset.column_names, source, data, problems):
        return
    # The Hub may keep the classes as numbers beside a list of their names; the model's YAML may use either.
    names = getattr(dataset.features[data.label_column], "names", [])
    use_names = not {str(index) for index in range(len(names))} & set(data.labels)
    dataset = dataset.select_columns([data.text_column, data.label_column]).with_format("arrow")
    for row in _table_rows((batch for table in dataset.iter(1000) for batch in table.to_batches()), data):
        if use_names and isinstance(row.label, int) and 0 <= row.label < len(names):
            row = row._replace(label=names[row.label])
        yield row


def _load_hub(source: Source, name: str, split: str) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    try:
        return load_dataset(name, split=split)
    except DatasetNotFoundError:
        raise DataError(
            f"{source.name}: not found on the Hub, or it needs a token. Check the id; put the token into HF_TOKEN."
        ) from None
    except ValueError as error:
        raise DataError(f"{source.name}: split {split!r} cannot be read: {error}") from error
    except DatasetsError as error:
        raise DataError(
            f"{source.name}: cannot be read ({type(error).__name__}). Is it made of plain files?"
        ) from error
    except OSError as error:
        raise SourceUnavailableError(
            f"{source.name}: the Hub could not be reached ({type(error).__name__}); worth another try."
        ) from error


def _table_rows(batches: Iterable[Any], data: DataConfig) -> Iterator[Row]:
    number = 0
    for batch in batches:
        texts = batch.column(data.text_column).to_pylist()
        labels = batch.column(data.label_column).to_pylist()
        for text, label in zip(texts, labels, strict=True):
            yield Row(number, text, label)
            number += 1


def _has_columns(names: Sequence[str], source: Source, data: DataConfig, problems: Problems) -> bool:
    wanted = (data.text_column, data.label_column)
    missing = [name for name in wanted if name not in names]
    if missing and set(names) & set(data.labels):
        # The first review is taken for the names of the columns, and a review belongs in no log.
        problems.add(
            source.name, "a label stands where the names of the columns should", "Begin the file with a header line."
        )
    elif missing:
        problems.add(
            source.name,
            f"missing columns: {', '.join(map(repr, missing))}; there are: {', '.join(map(_column, names)) or 'none'}",
            "Rename the columns, or set text_column and label_column in the model's YAML.",
        )
    twice = [name for name in wanted if list(names).count(name) > 1]
    if twice:
        problems.add(
            source.name, f"columns that stand there twice: {', '.join(map(repr, twice))}", "Rename one of them."
        )
    return not missing and not twice


def _column(name: str) -> str:
    # A file without a header has its first review here.
    return repr(name) if len(name) <= _LONGEST_COLUMN_NAME else f"a text of {len(name)} characters (no header line?)"


_READERS: dict[str, Callable[[IO[bytes], Source, DataConfig, Problems], Iterator[Row]]] = {
    "csv": _read_csv,
    "tsv": _read_csv,
    "jsonl": _read_json_lines,
    "parquet": _read_parquet,
}
