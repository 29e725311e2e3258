"""Rows as the readers give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from include.classifier.data.problems import Problems
from include.classifier.data.readers import read_batches
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig


class Row(NamedTuple):
    number: int
    text: Any
    label: Any


def read_rows(source: Source, data: DataConfig, problems: Problems) -> list[Row]:
    rows: list[Row] = []
    for batch in read_batches(source, data, problems):
        texts, labels = (
            column.to_pylist() if isinstance(column, pa.Array) else column for column in (batch.texts[0], batch.labels)
        )
        rows += [Row(*values) for values in zip(batch.numbers.tolist(), texts, labels, strict=True)]
    return rows


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
