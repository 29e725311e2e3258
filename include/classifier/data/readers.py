"""Reads the rows of CSV, JSON Lines and Parquet files and of Hub data sets, in batches."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from include.classifier.data.batches import Batch
from include.classifier.data.delimited import read_delimited
from include.classifier.data.headers import has_columns
from include.classifier.data.lines import CHUNK_BYTES, Lines
from include.classifier.data.problems import DataError, Problems, SourceUnavailableError
from include.classifier.data.sources import HUB_PREFIX, Source
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import pyarrow as pa

#: Split of a Hub data set when its id names none.
DEFAULT_HUB_SPLITS = {"train": "train", "evaluation": "test"}
#: Rows of a table that are looked at in one go.
_BATCH_ROWS = 16_384


def read_batches(source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    """Read a source; how much memory that takes does not depend on its rows.

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
            if source.format == "parquet":
                yield from _read_parquet(file, source, data, problems)
            else:
                read = read_delimited if source.format in ("csv", "tsv") else _read_json_lines
                yield from read(Lines(file, source, problems), source, data, problems)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error):
        problems.add(source.name, "the compressed file is broken or incomplete", "Compress or copy it again.")


def _read_json_lines(lines: Lines, source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    import numpy as np

    checked = False
    while lines.look_ahead():
        numbers, texts, labels = [], [], []
        for line in lines:
            record = _json_object(line, lines.number, source, problems)
            if record is not None:
                if not checked and not has_columns(list(record), source, data, problems):
                    return
                checked = True
                numbers.append(lines.number)
                texts.append(record.get(data.text_column))
                labels.append(record.get(data.label_column))
            if not lines.looked_ahead:
                break
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
        'Write one object to a line, such as {"text": "...", "label": "..."}; a JSON array is not JSON Lines.',
        place=source.place(number),
    )
    return None


def _read_parquet(file: IO[bytes], source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # With a buffer, what is in memory does not depend on how large the file's row groups are.
        table = parquet.ParquetFile(file, buffer_size=CHUNK_BYTES)
        if has_columns(table.schema_arrow.names, source, data, problems):
            columns = [data.text_column, data.label_column]
            yield from _batches(table.iter_batches(batch_size=_BATCH_ROWS, columns=columns), data)
    except pa.ArrowException:
        problems.add(source.name, "is not a Parquet file that can be read", "Write it again, or check its ending.")


def _read_hub(source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    name, _, split = source.uri.removeprefix(HUB_PREFIX).partition(":")
    split = split or DEFAULT_HUB_SPLITS[source.split]
    dataset = _load_hub(source, name, split)
    if not has_columns(dataset.column_names, source, data, problems):
        return
    # The Hub may keep the classes as numbers beside a list of their names; the model's YAML may use either.
    names = getattr(dataset.features[data.label_column], "names", [])
    use_names = not {str(index) for index in range(len(names))} & set(data.labels)
    dataset = dataset.select_columns([data.text_column, data.label_column]).with_format("arrow")
    tables = (batch for table in dataset.iter(_BATCH_ROWS) for batch in table.to_batches())
    yield from _batches(tables, data, label_names=names if use_names else [])


def _name(label: Any, names: Sequence[str]) -> Any:
    return names[label] if isinstance(label, int) and 0 <= label < len(names) else label


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


def _batches(tables: Iterable[pa.RecordBatch], data: DataConfig, label_names: Sequence[str] = ()) -> Iterator[Batch]:
    import numpy as np

    begin = 0
    for table in tables:
        table.validate(full=True)  # bytes that are not UTF-8 would come up later, and nobody would know from where
        numbers = np.arange(begin, begin + len(table))
        labels = table.column(data.label_column)
        if label_names:
            labels = [_name(label, label_names) for label in labels.to_pylist()]
        yield Batch(numbers, table.column(data.text_column), labels)
        begin += len(table)
