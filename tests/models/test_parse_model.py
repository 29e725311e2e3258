"""Labels in a model's YAML are the text that was written."""

from __future__ import annotations

import pytest
import yaml

from include.models import parse_model

WORDS = (
    "no yes on off true null ~ 010 0x1F 0o17 1.10 1e3 .5 12:30 1_000 +1 -0 2024-01-01 .inf .nan = 1 bad",
    "No YES On OFF True NULL Null y n Y N False",
)


@pytest.mark.parametrize("word", [word for line in WORDS for word in line.split()])
def test_words_and_numbers_of_yaml_stay_what_was_written(word: str) -> None:
    in_list = parse_model(f"data:\n  labels: [{word}, good]\n")
    as_keys = parse_model(f"data:\n  labels:\n    {word}: {word}\ngate:\n  min_class_f1: {{{word}: 0.5}}\n")

    assert in_list["data"]["labels"] == [word, "good"]
    assert as_keys["data"]["labels"] == {word: word}
    assert as_keys["gate"]["min_class_f1"] == {word: 0.5}


def test_everything_else_is_read_as_yaml_does() -> None:
    text = "name: reviews\ndata: {labels: &l ['1', \"two\"], min_rows: 50}\nother: *l\ngate: {min_class_f1: 0.5}\n"

    assert parse_model(text) == yaml.safe_load(text)
    assert parse_model("") is None
    assert parse_model("- 1") == [1]
    assert parse_model("data: 1\ngate:\n") == {"data": 1, "gate": None}


def test_what_is_empty_is_no_label() -> None:
    assert parse_model("data: {labels: {bad: , good: great}}")["data"]["labels"] == {"bad": None, "good": "great"}
