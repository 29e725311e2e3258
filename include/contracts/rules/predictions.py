"""Predictions of the evaluation rows, as a pipeline of anybody's writes them and as a release keeps them.

One row each: ``id``, ``label`` (the true one) and ``prediction``, in JSON Lines or in CSV with a head. Whatever else
stands in a row is not read. What is kept is text: a whole number is written without a fraction, whoever wrote it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

#: More rows make an interval no better that anybody would notice, and every one is held in memory.
MOST_ROWS = 200_000
MOST_BYTES = 50_000_000
_LONGEST_ID, _LONGEST_VALUE = 200, 1000

_COLUMNS = ("id", "label", "prediction")
_WHAT_IS_READ = "JSON Lines or CSV with `id`, `label` and `prediction`, in UTF-8"


class PredictionsError(ValueError):
    """A file has no predictions that can be read; the message names it and the row, and no value that stands there."""


class Predicted(NamedTuple):
    """What is right for a row, and what a model has said."""

    label: str
    prediction: str


#: Id of a row -> what was predicted of it.
Predictions = Mapping[str, Predicted]


def parse_predictions(content: bytes, *, where: str) -> dict[str, Predicted]:
    """Return the predictions of a file.

    :param where: its URI, for messages.
    :raises PredictionsError: at the first row that is none, or when there are too many.
    """
    if len(content) > MOST_BYTES:
        raise PredictionsError(
            f"{where} has more than {MOST_BYTES // 1_000_000} MB of predictions: let the pipeline write the three "
            f"columns alone, or the same {MOST_ROWS:,} rows every time."
        )
    if content.startswith(b"PAR1"):
        raise PredictionsError(f"{where} is a Parquet file; read is {_WHAT_IS_READ}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PredictionsError(f"{where} is not UTF-8 at byte {error.start}; read is {_WHAT_IS_READ}.") from None
    rows = _json_rows(text, where) if text.lstrip().startswith("{") else _csv_rows(text, where)
    found: dict[str, Predicted] = {}
    for number, row in rows:
        if len(found) >= MOST_ROWS:
            raise PredictionsError(
                f"{where} has more than {MOST_ROWS:,} rows: let the pipeline write the same part of them every time."
            )
        name, label, prediction = (_value(row, column, f"{where}, row {number}") for column in _COLUMNS)
        if name in found:
            raise PredictionsError(f"{where}, row {number}: its id stands in a row before it.")
        found[name] = Predicted(label, prediction)
    if not found:
        raise PredictionsError(f"{where} holds no row; read is {_WHAT_IS_READ}.")
    return found


def dump_predictions(predictions: Predictions) -> bytes:
    """Return predictions as JSON Lines, which are always the same for the same predictions."""
    rows = ({"id": name, **found._asdict()} for name, found in sorted(predictions.items()))
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def rows_digest(predictions: Predictions) -> str:
    """Return the hex SHA-256 of the rows that were predicted: of their ids and labels, in the order of the ids."""
    digest = hashlib.sha256()
    for name, found in sorted(predictions.items()):
        digest.update(f"{json.dumps([name, found.label])}\n".encode())
    return digest.hexdigest()


def _json_rows(text: str, where: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise PredictionsError(f"{where}, row {number} is no JSON object; read is {_WHAT_IS_READ}.")
        yield number, row


def _csv_rows(text: str, where: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if missing := _missing(reader.fieldnames or ()):
            raise PredictionsError(f"{where} has no column {', '.join(missing)}; read is {_WHAT_IS_READ}.")
        yield from enumerate(reader, start=1)
    except csv.Error:
        raise PredictionsError(f"{where}, line {reader.line_num} is no CSV; read is {_WHAT_IS_READ}.") from None


def _missing(there: Iterable[str]) -> list[str]:
    return [column for column in _COLUMNS if column not in set(there)]


def _value(row: Mapping[str, Any], column: str, place: str) -> str:
    found = row.get(column)
    if isinstance(found, bool):
        text = str(found).lower()
    elif isinstance(found, float):
        text = str(int(found)) if found.is_integer() else repr(found)
    elif isinstance(found, int):
        # Whatever is longer than this is no number that anybody meant, and costs time to write.
        text = str(found) if found.bit_length() < 1024 else ""
    else:
        text = found if isinstance(found, str) else ""
    longest = _LONGEST_ID if column == "id" else _LONGEST_VALUE
    if not text or len(text) > longest:
        raise PredictionsError(
            f"{place}: `{column}` is no number and no text of 1 to {longest} characters; read is {_WHAT_IS_READ}."
        )
    return text
