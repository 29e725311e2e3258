"""Rows with a date: those of other days than the window's are left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from itertools import compress
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from include.classifier.data.columns import distinct
from include.classifier.data.formats.batches import Batch
from include.classifier.data.problems import Problems
from include.classifier.data.readers import read_batches
from include.classifier.data.sources import Source
from include.contracts.dates import Window
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_KEPT, _OUTSIDE, _MISSING, _WRONG = range(4)


class RowDates:
    """Reads the rows of a window's days.

    :param column: with the date: a date, a time, or the text of one as ISO 8601 writes it.
    :param window: a time with an offset counts to the day that it is in the window's time zone.
    """

    def __init__(self, column: str, window: Window) -> None:
        self._column = column
        self._window = window
        self._zone = ZoneInfo(window.timezone)
        self._outside = 0
        self._missing = 0

    def read(self, source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
        """Read a source as :func:`read_batches` does, without the rows of other days and those without a date.

        :param problems: gathers dates that cannot be read as well.
        """
        # To the readers it is one more column to read, whatever the format.
        with_date = data.model_copy(update={"text_column": [*data.text_columns, self._column]})
        for batch in read_batches(source, with_date, problems):
            *texts, dates = batch.texts
            states = self._states(dates)
            self._outside += int((states == _OUTSIDE).sum())
            self._missing += int((states == _MISSING).sum())
            for number in batch.numbers[states == _WRONG]:
                problems.add(
                    source.name,
                    f"what stands in {self._column!r} is no date",
                    "Write it as 2026-11-29 or 2026-11-29T17:45:00+01:00, or as a date or timestamp in Parquet.",
                    place=source.place(int(number)),
                )
            kept = states == _KEPT
            yield Batch(batch.numbers[kept], [_of(column, kept) for column in texts], _of(batch.labels, kept))

    def counts(self) -> dict[str, int]:
        """Return how many rows were left out so far, as ``dataset.json`` names them."""
        return {"rows_outside": self._outside, "rows_without_date": self._missing}

    def add(self, *, rows_outside: int, rows_without_date: int) -> None:
        """Count rows that were left out elsewhere."""
        self._outside += rows_outside
        self._missing += rows_without_date

    def report(self, kept: int, problems: Problems) -> None:
        """Print what was left out; that nothing else is there is a problem."""
        print(f"By {self._column}: {self._outside:,} rows of other days, {self._missing:,} without a date left out.")
        if not kept and self._outside + self._missing:
            problems.add(
                "train",
                f"none of its rows is of the days {self._window} by {self._column!r}",
                "Check `date_column`, `last` and `until` in the model's `data`.",
            )

    def _states(self, dates: pa.Array | list[Any]) -> np.ndarray:
        import numpy as np

        values, indices = distinct(_in_microseconds(dates))
        return np.array([self._state(value) for value in values], dtype=np.int8)[indices]

    def _state(self, value: Any) -> int:
        if value is None or (isinstance(value, str) and not value.strip()):
            return _MISSING
        try:
            day = self._day(datetime.fromisoformat(value.strip()) if isinstance(value, str) else value)
        except (ValueError, OverflowError):
            return _WRONG
        if day is None:
            return _WRONG
        return _KEPT if self._window.first <= day <= self._window.last else _OUTSIDE

    def _day(self, value: Any) -> date | None:
        if isinstance(value, datetime):
            return (value.astimezone(self._zone) if value.tzinfo else value).date()
        return value if isinstance(value, date) else None


def _in_microseconds(dates: pa.Array | list[Any]) -> pa.Array | list[Any]:
    """Return times as Python's can be: pandas writes them in nanoseconds."""
    import pyarrow as pa

    if isinstance(dates, pa.Array) and pa.types.is_timestamp(dates.type):
        return dates.cast(pa.timestamp("us", "UTC" if dates.type.tz else None), safe=False)
    return dates


def _of(column: pa.Array | list[Any], kept: np.ndarray) -> pa.Array | list[Any]:
    import pyarrow as pa

    return column.filter(pa.array(kept)) if isinstance(column, pa.Array) else list(compress(column, kept))
