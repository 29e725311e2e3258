"""What both ways of training are given, and how they are judged."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.harness import OURS
from benchmarks.training import MACRO_F1, OTHER, SPEED, WHOLE, judge, prepare, read_rows
from tests.benchmarks.measured import measured


def make_csv(file: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows((header, *rows))
    return file


def test_given_rows_are_cleaned_and_keep_their_labels(tmp_path: Path) -> None:
    given = [("4", "Lovely.\n\nTruly."), ("0", "Awful."), ("4", "  ")]
    rows = read_rows(make_csv(tmp_path / "rows.csv", ("label", "text"), given))

    assert rows.labels == ["0", "4"]
    assert sorted(zip(rows.texts, rows.classes, strict=True)) == [("Awful.", 0), ("Lovely. Truly.", 1)]


def test_the_sample_data_are_made_as_long_as_reviews_and_come_in_the_same_order() -> None:
    rows = read_rows()

    assert len(rows.texts) == 600
    assert sum(map(len, rows.texts)) / len(rows.texts) > 400
    assert {rows.classes.count(index) for index in range(5)} == {120}
    assert rows.classes != sorted(rows.classes)
    assert rows == read_rows()


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column label"):
        read_rows(make_csv(tmp_path / "rows.csv", ("text",), [("Lovely.",)]))


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"700 rows are needed .* there are 600"):
        prepare(tmp_path, read_rows(), [100, 500], base_model=tmp_path)


def test_what_neither_side_learns_from_is_held_out(tmp_path: Path) -> None:
    rows = read_rows()
    work = prepare(tmp_path, rows, [100, 350], base_model=tmp_path)

    assert {size: len(read_rows(file).texts) for size, file in work.rows.items()} == {100: 100, 350: 350}
    assert (work.held_out.texts, work.held_out.classes) == (rows.texts[350:], rows.classes[350:])
    assert work.held_out.labels == rows.labels


@pytest.mark.parametrize(("ours", "reached"), [(0.88, True), (0.85, False)])
def test_speed_counts_at_an_equal_result_only(ours: float, reached: bool) -> None:
    figures = {
        OURS: {SPEED: 30, WHOLE: 1, MACRO_F1: ours},
        OTHER: {SPEED: 10, WHOLE: 1, MACRO_F1: 0.9},
    }
    few_rows = {side: {**figures[side], MACRO_F1: 0.5} for side in figures}
    benchmark = measured(
        {(10, side): found for side, found in few_rows.items()} | {(20, side): found for side, found in figures.items()}
    )
    judge(benchmark)

    assert [(target.value, target.reached) for target in benchmark.targets] == [
        (3, True),
        (round(ours - 0.9, 4), reached),
        (ours, True),
    ]
