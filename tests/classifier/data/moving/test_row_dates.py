"""Rows with a date are read by day, whatever the format and however the date is written."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.classifier.data.moving.row_dates import RowDates
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.dates import Window
from include.contracts.settings import DataConfig

WINDOW = Window(date(2026, 3, 28), date(2026, 3, 29), "Europe/Berlin")  # the clocks change on the second day
DATA = DataConfig.model_validate({"train": ["x"], "labels": ["bad", "good"], "date_column": "day", "last": "2 days"})
#: What stands in the column -> whether the row is kept; None: it has no date.
WRITTEN = {
    "2026-03-27": False,
    "2026-03-28": True,
    "20260329": True,
    "2026-03-30": False,
    " 2026-03-29T23:59:59.999 ": True,
    "2026-03-30 00:00": False,
    "2026-03-27T23:30:00Z": True,
    "2026-03-29T22:00:00+00:00": False,
    "2026-03-29T21:59:59Z": True,
    "": None,
    "  ": None,
}


def read(path: Path, problems: Problems | None = None) -> tuple[list[str], list[int], dict[str, int]]:
    """Return texts and numbers of the rows that are kept, and how many were left out."""
    found, dates = problems or Problems(), RowDates("day", WINDOW)
    batches = list(dates.read(Source(str(path), "train"), DATA, found))
    if problems is None:
        found.raise_if_any()
    texts = [
        text
        for batch in batches
        for text in (batch.texts[0] if isinstance(batch.texts[0], list) else batch.texts[0].to_pylist())
    ]
    assert all(len(batch.texts) == 1 and len(batch.labels) == len(batch.numbers) for batch in batches)
    return texts, [int(number) for batch in batches for number in batch.numbers], dates.counts()


def write(path: Path, days: list[Any], kind: Any = None) -> Path:
    rows = [{"label": "bad", "day": day, "text": f"row {number}"} for number, day in enumerate(days)]
    if path.suffix == ".parquet":
        columns = {name: [row[name] for row in rows] for name in ("label", "text")}
        parquet.write_table(pa.table(columns | {"day": pa.array(days).cast(kind or pa.string())}), path)
    elif path.suffix == ".csv":
        path.write_text("label,day,text\n" + "".join(f'{row["label"]},{row["day"]},"{row["text"]}"\n' for row in rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("name", "first"), [("a.csv", 2), ("a.jsonl", 1), ("a.parquet", 0)])
def test_a_date_that_is_text_is_read_in_every_format(tmp_path: Path, name: str, first: int) -> None:
    path = write(tmp_path / name, list(WRITTEN))
    kept = [index for index, state in enumerate(WRITTEN.values()) if state]
    states = list(WRITTEN.values())
    assert read(path) == (
        [f"row {index}" for index in kept],
        [index + first for index in kept],
        {"rows_outside": states.count(False), "rows_without_date": states.count(None)},
    )


DAYS = [date(2026, 3, 27), date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30), None]
#: At midnight in Berlin.
MIDNIGHTS = [datetime(2026, 3, day, hour, tzinfo=UTC) for day, hour in ((26, 23), (27, 23), (28, 23), (29, 22))]


@pytest.mark.parametrize(
    ("days", "kind"),
    [
        (DAYS, pa.date32()),
        (DAYS, pa.date64()),
        (DAYS, pa.timestamp("ns")),
        (DAYS, pa.timestamp("s")),
        ([*MIDNIGHTS, None], pa.timestamp("ns", "UTC")),
        ([*MIDNIGHTS, None], pa.timestamp("us", "America/New_York")),
        ([*map(str, DAYS[:4]), None], pa.dictionary(pa.int32(), pa.string())),
    ],
)
def test_dates_and_times_of_tables_are_of_the_same_days(tmp_path: Path, days: list[Any], kind: Any) -> None:
    path = write(tmp_path / "a.parquet", days, kind)
    assert read(path) == (["row 1", "row 2"], [1, 2], {"rows_outside": 2, "rows_without_date": 1})


@pytest.mark.parametrize("wrong", ["28.03.2026", "yesterday", 20260328, 1774656000, True, ["2026-03-28"], 0.5])
def test_what_is_no_date_is_refused_with_its_place_and_never_shown(tmp_path: Path, wrong: Any) -> None:
    problems = Problems()
    read(write(tmp_path / "a.jsonl", ["2026-03-28", wrong, "2026-03-29", wrong]), problems)
    (message,) = problems.messages()
    assert "a.jsonl, line 2, line 4: what stands in 'day' is no date. Write it as 2026-11-29" in message
    assert str(wrong) not in message


def test_a_file_without_the_column_is_named(tmp_path: Path) -> None:
    problems = Problems()
    (tmp_path / "a.csv").write_text("text,label\nfine,good\n")
    read(tmp_path / "a.csv", problems)
    assert "missing columns: 'day'" in problems.messages()[0]
