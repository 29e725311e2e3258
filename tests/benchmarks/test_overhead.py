"""Where the time of a release goes, as its own records tell."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.harness import OURS
from benchmarks.overhead import (
    BETWEEN,
    CHECKS,
    OTHER,
    PIPELINE,
    START,
    STEPS,
    WALL,
    figures,
    judge,
    step_times,
    task_times,
    write_rows,
)
from tests.benchmarks.measured import measured


def test_the_parts_make_up_the_whole() -> None:
    steps = {name: (100.0 + 10 * number, 104.0 + 10 * number) for number, name in enumerate(STEPS)}
    found = figures(90, 100, start=98, steps=steps, pipeline=(109, 135), checks=[(98, 99), (180, 182)])

    assert found[WALL] == 100
    assert found[START] == 8
    assert {found[name] for name in STEPS} == {4}
    assert found[PIPELINE] == 26 - 3 * 4
    assert found[CHECKS] == 3
    assert sum(seconds for name, seconds in found.items() if name != WALL) == pytest.approx(100)
    assert found[BETWEEN] > 0


def test_a_bare_script_has_neither_pipeline_nor_checks() -> None:
    steps = dict.fromkeys(STEPS, (100.0, 101.0))
    found = figures(90, 20, start=95, steps=steps)

    assert (found[PIPELINE], found[CHECKS]) == (0, 0)
    assert found[BETWEEN] == 20 - 5 - len(STEPS)


def test_tasks_are_read_from_airflows_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as connection, connection:
        connection.execute("CREATE TABLE task_instance (task_id, start_date, end_date, state)")
        connection.executemany(
            "INSERT INTO task_instance VALUES (?, ?, ?, ?)",
            [
                ("check", "2026-01-01 00:00:10.500000", "2026-01-01 00:00:12.000000", "success"),
                ("roll_back", "2026-01-01 00:00:13.000000", "2026-01-01 00:00:13.000000", "skipped"),
                ("release", None, None, "upstream_failed"),
            ],
        )
    found = task_times(tmp_path / "airflow.db")

    assert found == {"check": (1767225610.5, 1767225612.0)}


def test_steps_are_read_from_the_runs_record(tmp_path: Path) -> None:
    (tmp_path / "a-run").mkdir()
    step = {"name": "train", "started": "2026-01-01T00:00:10.500+00:00", "ended": "2026-01-01T00:00:12.000+00:00"}
    (tmp_path / "a-run" / "state.json").write_text(json.dumps({"steps": [step]}), encoding="utf-8")

    assert step_times(tmp_path) == {"train": (1767225610.5, 1767225612.0)}


def test_rows_are_as_many_as_asked_for_and_no_text_stands_twice(tmp_path: Path) -> None:
    with write_rows(tmp_path / "rows.csv", 1000).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert len({row["text"] for row in rows}) == 1000
    assert {row["label"] for row in rows} == {"1", "2", "3", "4", "5"}


@pytest.mark.parametrize(("ours", "reached"), [(40.0, True), (41.0, False)])
def test_a_release_may_take_half_as_long_again_and_ten_seconds(ours: float, reached: bool) -> None:
    benchmark = measured({(600, OURS): {WALL: ours}, (600, OTHER): {WALL: 20.0}})
    judge(benchmark, preparing=7.0)

    assert [(target.value, target.reached) for target in benchmark.targets] == [(ours - 30, reached), (7, True)]
