"""The shipped sample data is what its script makes, and what the trial model needs."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from include.models import read_trained_model
from include.sample_data import generate

FILES = ("train.csv", "evaluation.csv")


def read(name: str) -> list[dict[str, str]]:
    with (generate.FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", FILES)
def test_committed_files_are_what_the_script_makes(tmp_path: Path, name: str) -> None:
    generate.write_files(tmp_path)

    assert (tmp_path / name).read_bytes() == (generate.FOLDER / name).read_bytes()


def test_another_seed_makes_other_rows() -> None:
    assert generate.make_rows(1) != generate.make_rows(2)


@pytest.mark.parametrize(("name", "rows_per_star"), [("train.csv", 120), ("evaluation.csv", 30)])
def test_stars_are_balanced_and_known_to_the_model(name: str, rows_per_star: int) -> None:
    labels = read_trained_model("sample-reviews").data.labels

    assert Counter(row["label"] for row in read(name)) == dict.fromkeys(labels, rows_per_star)


def test_no_text_stands_twice_in_either_file() -> None:
    texts = [row["text"] for name in FILES for row in read(name)]

    assert len(texts) == 750
    assert len(set(texts)) == len(texts)


def test_reviews_differ_in_length() -> None:
    words = [len(row["text"].split()) for row in read("train.csv")]

    assert min(words) <= 6
    assert max(words) >= 40


def test_no_placeholder_is_left_in_a_text() -> None:
    assert not [row["text"] for name in FILES for row in read(name) if "{" in row["text"]]
