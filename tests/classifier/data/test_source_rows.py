"""Rows are counted as preprocessing reads them, so that two counts can be compared."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from include.classifier.data import source_rows
from include.classifier.preprocess import preprocess
from include.contracts.settings import DataConfig

LABELS = ["bad", "good"]


def settings(*train: Path) -> DataConfig:
    small = {"min_rows": 2, "min_evaluation_rows": 2}
    return DataConfig.model_validate({"train": [str(path) for path in train], "labels": LABELS} | small)


def write_rows(folder: Path) -> tuple[Path, Path]:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [(f"place {number},\nsaid twice", LABELS[number % 2]) for number in range(40)]
    text = folder / "train.csv"
    text.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in [*rows, rows[0]]))
    table = folder / "more.parquet"
    parquet.write_table(pa.table({"text": ["fine", "not fine"], "label": LABELS}), table)
    return text, table


def test_the_count_is_the_one_that_the_data_set_records(tmp_path: Path) -> None:
    data = settings(*write_rows(tmp_path))
    dataset = preprocess(data, model="reviews", seed=1, output_uri=(tmp_path / "dataset").as_uri())
    recorded = [{"uri": source["uri"], "rows": source["rows"]} for source in dataset["sources"]]
    assert source_rows.count_rows(data) == recorded
    assert [source["rows"] for source in recorded] == [41, 2]


def test_the_command_writes_the_counts_and_prints_their_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, target = settings(*write_rows(tmp_path)), tmp_path / "new" / "source-rows.json"
    arguments = ["--data", data.model_dump_json(), "--output-uri", target.as_uri()]
    assert source_rows.main(arguments) == 0
    assert sum(source["rows"] for source in json.loads(target.read_text())) == 43
    assert "43 training rows in 2 source(s)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("until", "since", "rows"),
    [
        ("today", None, [12, 12, 3]),
        ("today", "2026-03-03", [9, 9, 3]),
        ("yesterday", None, [7, 7, 3]),
        ("yesterday", "2026-03-02", [4, 4, 3]),
        ("yesterday", "2026-03-03", [0, 0, 3]),
        ("today", "2026-03-05", [0, 0, 3]),
        ("today", "2026-01-01", [12, 12, 3]),
    ],
)
def test_of_dated_data_the_rows_of_later_days_are_new(
    tmp_path: Path, until: str, since: str | None, rows: list[int]
) -> None:
    lines = [f"text {day} {number},bad,2026-03-0{day}\n" for day in (2, 3, 4) for number in range(day + 1)]
    head = "text,label,day\n"
    (tmp_path / "all.csv").write_text(head + "".join(lines))
    for day in (2, 3, 4):
        name = f"2026-03-0{day}.csv"
        (tmp_path / name).write_text(head + "".join(line for line in lines if name[:10] in line))
    (tmp_path / "fixed.csv").write_text(head + "".join(lines[:3]))
    asked = {
        "as_of": datetime(2026, 3, 4, tzinfo=UTC),
        "since": date.fromisoformat(since) if since else None,
    }

    def count(*names: str, **dates: str) -> list[dict[str, Any]]:
        files = [str(tmp_path / name) for name in names]
        found = source_rows.count_rows(DataConfig.model_validate({"train": files, "labels": LABELS} | dates), **asked)
        assert [entry["uri"] for entry in found] == files
        return found

    dates = {"until": until, "last": "10 days"}
    by_name = count("{date}.csv", "fixed.csv", **dates)
    by_row = count("all.csv", date_column="day", **dates)
    assert [by_name[0]["rows"], by_row[0]["rows"], by_name[1]["rows"]] == rows
    assert [entry.get("is_new", False) for entry in (*by_name, *by_row)] == [bool(since), False, bool(since)]


@pytest.mark.parametrize(
    ("content", "says"), [(None, "not found"), (b"no parquet", "is not a Parquet file that can be read")]
)
def test_a_source_that_cannot_be_counted_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, says: str
) -> None:
    source = tmp_path / "rows.parquet"
    if content is not None:
        source.write_bytes(content)
    arguments = ["--data", settings(source).model_dump_json(), "--output-uri", (tmp_path / "x.json").as_uri()]
    assert source_rows.main(arguments) == 2
    assert "rows.parquet" in (complaint := capsys.readouterr().err)
    assert says in complaint
    assert source_rows.main(["--data", "{}", "--output-uri", "file:///x"]) == 2
