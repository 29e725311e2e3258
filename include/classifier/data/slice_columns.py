"""Slices by a column of the data: it is read beside the text, and all that is kept is which rows are in which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from include.classifier.data.columns import distinct
from include.classifier.data.formats.batches import Batch
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source
from include.contracts.kinds.labels import label_text
from include.contracts.kinds.slices import columns_of
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Read = Callable[[Source, DataConfig, Problems], Iterator[Batch]]


class SliceColumns:
    """Reads the columns that slices go by, whatever the format.

    :param data: its ``slices`` name the columns and their values.
    """

    def __init__(self, data: DataConfig) -> None:
        self._rules = [rule for rule in data.slices if rule.column is not None]
        self._columns = [str(column) for column in columns_of(data.slices)]
        self._values = [{label_text(value) for value in rule.values} for rule in self._rules]
        # Only evaluation rows are ever looked at, and a file that is only trained on may lack the column.
        self._split = "evaluation" if data.evaluation else "train"

    @property
    def names(self) -> list[str]:
        """Names of the slices, in their order."""
        return [rule.name for rule in self._rules]

    def read(self, read: Read, source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
        """Read a source, and tell of each row which slices it is in.

        :param read: what reads the rows.
        :raises DataError: when the source has no columns at all.
        """
        import numpy as np

        if not self._rules or source.split != self._split:
            for batch in read(source, data, problems):
                yield batch._replace(slices=np.zeros((len(batch.numbers), len(self._rules)), dtype=bool))
            return
        # To the readers they are more columns to read, as the one with the date is.
        texts = len(data.text_columns)
        more = data.model_copy(update={"text_column": [*data.text_columns, *self._columns]})
        for batch in read(source, more, problems):
            if len(batch.texts) != texts + len(self._columns):
                raise DataError(
                    f"{source.name}: has no column {', '.join(map(repr, self._columns))}, which slices go by; give the "
                    "data as a table, or leave these slices out."
                )
            found = dict(zip(self._columns, batch.texts[texts:], strict=True))
            masks = [
                _holding(found[str(rule.column)], values)
                for rule, values in zip(self._rules, self._values, strict=True)
            ]
            yield batch._replace(texts=batch.texts[:texts], slices=np.column_stack(masks))


def _holding(column: pa.Array | list[Any], values: set[str]) -> np.ndarray:
    """Return which rows hold one of some values, bool, shape (rows,). Numbers count as they are written."""
    import numpy as np

    found, rows = distinct(column)
    held = [value is not None and label_text(value) in values for value in found]
    return np.array(held, dtype=bool)[rows]
