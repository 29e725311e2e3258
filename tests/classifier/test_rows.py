"""Repeated and leaked rows are marked, and rows are split off evenly and repeatably."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.classifier.problems import Problems
from include.classifier.rows import mark_repeated, read_table, split_off
from include.classifier.sources import Source
from include.models.model_config import DataConfig

DATA = DataConfig(train=["unused.csv"], labels={"1": "bad", "2": "good"})


def test_table_has_the_rows_of_all_sources_and_their_places(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n" so\\n  fine ",1.0\n')
    (tmp_path / "b.jsonl").write_text('{"text": null, "label": "9"}\n')
    sources = [Source(str(tmp_path / "a.csv"), "train"), Source(str(tmp_path / "b.jsonl"), "evaluation")]

    table = read_table(sources, DATA, Problems())

    assert table.to_dict("list") == {
        "source": [0, 1],
        "number": [2, 1],
        "text": [" so\\n  fine ", None],
        "label": ["1.0", "9"],
        "cleaned": ["so fine", ""],
        "class": [0, -1],
        "split": ["train", "evaluation"],
        "dropped": ["", ""],
    }


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    problems = Problems()

    table = read_table([Source(str(tmp_path / name), "train") for name in ("a.csv", "b.csv")], DATA, problems)

    assert table.empty
    assert [message.partition(":")[0] for message in problems.messages()] == [
        str(tmp_path / "a.csv"),
        str(tmp_path / "b.csv"),
    ]


def test_long_files_say_how_far_reading_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("include.classifier.rows._PROGRESS_ROWS", 2)
    (tmp_path / "a.csv").write_text("text,label\n" + "fine,1\n" * 5)

    read_table([Source(str(tmp_path / "a.csv"), "train")], DATA, Problems())

    assert capsys.readouterr().out.splitlines() == [f"{tmp_path / 'a.csv'}: {rows} rows read." for rows in (2, 4)]


def mark(*rows: tuple[str, str, int, str]) -> tuple[list[str], list[int]]:
    table = pd.DataFrame(rows, columns=["split", "cleaned", "class", "dropped"], dtype="object")
    contradicting = mark_repeated(table)
    return table["dropped"].tolist(), contradicting.index.tolist()


def test_later_rows_with_the_same_text_are_duplicates_whatever_their_label() -> None:
    rows = [("train", "a", 0, ""), ("train", "b", 0, ""), ("train", "a", 0, ""), ("train", "a", 1, "")]

    assert mark(*rows) == (["", "", "duplicate", "duplicate"], [3])


def test_evaluation_rows_that_are_trained_on_have_leaked() -> None:
    rows = [("train", "a", 0, ""), ("evaluation", "a", 0, ""), ("evaluation", "a", 0, ""), ("evaluation", "b", 0, "")]

    assert mark(*rows) == (["", "leaked", "duplicate", ""], [])


def test_rows_that_are_dropped_already_neither_repeat_nor_leak() -> None:
    rows = [("train", "a", -1, "unknown_label"), ("train", "a", 0, ""), ("train", "b", -1, "unknown_label")]

    assert mark(*rows, ("evaluation", "b", 1, "")) == (["unknown_label", "", "unknown_label", ""], [])


def test_each_class_gives_the_same_share() -> None:
    classes = np.repeat([0, 1, 2], [100, 50, 10])

    assert np.bincount(classes[split_off(classes, 0.2, seed=1)]).tolist() == [20, 10, 2]


def test_small_classes_stand_on_both_sides() -> None:
    assert sorted(split_off(np.array([0, 0]), 0.01, seed=1)) == [False, True]
    assert sorted(split_off(np.array([0, 0]), 0.99, seed=1)) == [False, True]
    assert split_off(np.array([0]), 0.5, seed=1).tolist() == [False]
    assert split_off(np.array([]), 0.5, seed=1).tolist() == []


def test_seed_decides_which_rows_are_split_off() -> None:
    classes = np.array([0, 1] * 50)

    assert np.array_equal(split_off(classes, 0.2, seed=1), split_off(classes, 0.2, seed=1))
    assert not np.array_equal(split_off(classes, 0.2, seed=1), split_off(classes, 0.2, seed=2))
