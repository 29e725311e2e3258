"""Reads JSON Lines: one object to a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.headers import has_columns
from include.classifier.data.formats.lines import Lines
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig

#: Names of fields that are remembered of a file whose records have others each.
_FIELDS = 1000


def read_json_lines(lines: Lines, source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    """Read the columns that the settings name.

    :param problems: gathers lines that are no objects.
    """
    import numpy as np

    fields: dict[str, None] = {}  # in the order in which they came
    for found in records(lines, source, problems):
        numbers, labels = [], []
        texts: list[list[Any]] = [[] for _ in data.text_columns]
        for number, record in found:
            # What is null may be left out, in the first record as well.
            fields |= dict.fromkeys(record) if len(fields) < _FIELDS else {}
            numbers.append(number)
            for column, name in zip(texts, data.text_columns, strict=True):
                column.append(record.get(name))
            labels.append(record.get(data.columns[-1]))
        if numbers and not has_columns(list(fields), source, data, problems):
            return
        yield Batch(np.array(numbers, dtype=np.int64), texts, labels)


def records(lines: Lines, source: Source, problems: Problems) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Yield some objects after the other, each with the number of its line.

    :param problems: gathers lines that are none.
    """
    while lines.look_ahead():
        found = []
        for line in lines:
            record = _json_object(line, lines.number, source, problems)
            if record is not None:
                found.append((lines.number, record))
            if not lines.looked_ahead:
                break
        yield found


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
        row=number,
    )
    return None
