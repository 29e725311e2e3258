"""Reads all columns of a file, with the readers of training: a row is the same row for both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from include.classifier.batch.rejections import Rejections
from include.classifier.data.columns import as_texts, may_hold_texts
from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.delimited import read_header
from include.classifier.data.formats.headers import has_columns
from include.classifier.data.formats.json_lines import records
from include.classifier.data.formats.lines import Lines
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.readers import read_batches, telling_of_broken_files, text_lines
from include.classifier.data.sources import Source
from include.contracts.batch.documents import Column, JsonType
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: Fields that the records of a file may have; a file with more has other data for names.
_MOST_FIELDS = 1000
#: Whole numbers beyond these are no longer told from each other as floats.
_EXACT = 1 << 53
_INT64 = range(-(1 << 63), 1 << 63)
_NAME = "a field's name holds half of a surrogate pair, which is no character"
_NAME_REMEDY = "Repair the escape sequence, or write the file again as UTF-8."


class Chunk(NamedTuple):
    """Some rows of a file, one after the other."""

    numbers: np.ndarray  #: Line or row index of each row, int64, shape (rows,).
    columns: list[pa.Array | list[Any]]  #: All of them; of JSON Lines a single one, the records.
    unreadable: dict[int, str]  #: Line -> reason, of lines before the last of these rows that are none.
    spoiled: dict[int, str]  #: The same, of rows that were read although a byte of them is wrong.


def only(data: DataConfig, columns: Sequence[str]) -> DataConfig:
    """Return the settings with which the readers read these columns, the last of them as the label."""
    *texts, last = columns
    return data.model_copy(update={"text_column": texts, "label_column": last, "date_column": None})


def columns_of(source: Source, data: DataConfig, text_columns: Sequence[str]) -> list[Column]:
    """Return a file's columns in their order; of JSON Lines none, because each record has its own fields.

    :raises DataError: when it has not the columns with the text, or cannot be read.
    """
    problems, wanted = Problems(), only(data, text_columns)
    found: list[Column] = []
    with telling_of_broken_files(source, problems), source.open() as file:
        if source.format == "parquet":
            found = _parquet_columns(file, source, wanted, problems)
        elif source.format != "jsonl" and (lines := text_lines(file, source, data, problems)):
            header = read_header(lines, source, wanted, problems, "\t" if source.format == "tsv" else ",")
            found = [Column(name=name, type="string") for name in header[1]] if header else []
    problems.raise_if_any()
    return found


def _parquet_columns(file: Any, source: Source, wanted: DataConfig, problems: Problems) -> list[Column]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.ParquetFile(file).schema_arrow
    except pa.ArrowException:
        problems.add(source.name, "is not a Parquet file that can be read", "Write it again, or check its ending.")
        return []
    fine = has_columns(schema.names, source, wanted, problems)
    if fine and (others := [name for name in wanted.columns if not may_hold_texts(schema.field(name).type)]):
        told = ", ".join(f"{name!r} is {schema.field(name).type}" for name in others)
        problems.add(source.name, f"columns that hold no texts: {told}", "Name the columns with the texts.")
    return [Column(name=field.name, type=str(field.type)) for field in schema] if fine else []


def read_chunks(source: Source, data: DataConfig, columns: Sequence[str]) -> Iterator[Chunk]:
    """Read a file's rows with all columns; of JSON Lines the records.

    :param columns: their names, none of JSON Lines.
    :raises DataError: when something is wrong with the file, and not with single rows of it.
    """
    rejections = Rejections()
    reading = only(data, columns) if columns else data
    for batch in read_batches(source, reading, rejections, json_lines=_whole_records):
        rejections.raise_if_any()
        unreadable, spoiled = rejections.take_rows(batch.numbers.tolist())
        yield Chunk(batch.numbers, [*batch.texts, *([batch.labels] if columns else [])], unreadable, spoiled)
    rejections.raise_if_any()


def _whole_records(lines: Lines, source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    import numpy as np

    for found in records(lines, source, problems):
        numbers: list[int] = []
        kept: list[dict[str, Any]] = []
        for number, record in found:
            if _can_be_named(record):
                numbers.append(number)
                kept.append(record)
            else:
                problems.add(source.name, _NAME, _NAME_REMEDY, place=source.place(number), row=number)
        yield Batch(np.array(numbers, dtype=np.int64), [kept], [])


def _can_be_named(record: Mapping[str, Any]) -> bool:
    """Say whether columns can have the names of a record's fields: JSON can write half of a surrogate pair."""
    try:
        "".join(record).encode()
    except UnicodeEncodeError:
        return False
    return True


class JsonColumns:
    """What the fields of records are, over all files: each column has one type in all that is written."""

    def __init__(self) -> None:
        self._types: dict[str, JsonType | Literal["wide"]] = {}

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Look at records.

        :raises DataError: when there are more fields than any table has.
        """
        types = self._types
        for record in records:
            for name, value in record.items():
                kind = _json_type(value)
                if types.get(name) != kind:
                    types[name] = _both(types.get(name, "null"), kind)
        if len(types) > _MOST_FIELDS:
            raise DataError(
                f"The records have more than {_MOST_FIELDS:,} different fields. Write what differs from record to "
                "record as values and not as names."
            )

    @property
    def columns(self) -> list[Column]:
        """All fields, in the order in which they came."""
        return [Column(name=name, type="int64" if kind == "wide" else kind) for name, kind in self._types.items()]


def _json_type(value: Any) -> JsonType | Literal["wide"]:
    if isinstance(value, int) and not isinstance(value, bool):
        return "int64" if abs(value) <= _EXACT else "wide" if value in _INT64 else "json"
    return _JSON_TYPES.get(type(value), "json")


_JSON_TYPES: dict[type, JsonType] = {type(None): "null", bool: "bool", float: "float64", str: "string"}
#: Types that one column can hold both of, and what it then is.
_COMMON: dict[frozenset[str], JsonType | Literal["wide"]] = {
    frozenset(("int64", "wide")): "wide",
    frozenset(("int64", "float64")): "float64",
}


def _both(one: JsonType | Literal["wide"], other: JsonType | Literal["wide"]) -> JsonType | Literal["wide"]:
    kinds = frozenset((one, other)) - {"null"}
    if len(kinds) < 2:
        return other if one == "null" else one
    return _COMMON.get(kinds, "json")


def json_column(records: Sequence[Mapping[str, Any]], column: Column) -> pa.Array:
    """Return one field of records as a column of Arrow."""
    import pyarrow as pa

    values = [record.get(column.name) for record in records]
    if column.type == "json":
        values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    if column.type not in ("string", "json"):
        return pa.array(values, getattr(pa, column.type.replace("bool", "bool_"))())
    return as_texts(values).values
