"""Some rows of a source, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Batch(NamedTuple):
    """Rows as they stand in a source, one after the other; values are whatever the format gave."""

    numbers: np.ndarray  #: Line or row index of each row, int64, shape (rows,).
    texts: Sequence[pa.Array | list[Any]]  #: One column, or several whose texts are one.
    labels: pa.Array | list[Any]
    slices: np.ndarray | None = None  #: Which rows are in each slice by a column, bool, shape (rows, slices).


def table_batches(tables: Iterable[pa.RecordBatch], data: DataConfig) -> Iterator[Batch]:
    """Yield the rows of tables.

    :raises pyarrow.ArrowInvalid: when strings are not UTF-8.
    """
    import numpy as np

    begin = 0
    for table in tables:
        table.validate(full=True)  # bytes that are not UTF-8 would come up later, and nobody would know from where
        numbers = np.arange(begin, begin + len(table))
        texts = [table.column(name) for name in data.text_columns]
        yield Batch(numbers, texts, table.column(data.label_column))
        begin += len(table)
