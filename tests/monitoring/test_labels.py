"""Labels of somebody's file: what is taken, what is refused, and that nothing of the file is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.contracts.monitoring.labels import read_labels
from include.monitoring.labels import main

LABELS = {"0": "bad", "1": "good"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store" / "reviews"


def add(store: Path, file: Path, content: str | bytes, labels: dict[str, str] | None = None) -> int:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    arguments = ["--model", "reviews", "--store-uri", store.as_uri(), "--file", str(file)]
    return main([*arguments, "--labels", json.dumps(LABELS if labels is None else labels)])


def test_a_table_and_json_lines_are_taken_under_either_name_of_a_label(store, tmp_path, capsys):
    assert add(store, tmp_path / "a.csv", "\ufeffid,label,row\r\nr-1,good,\r\nr-2,0,3\r\n") == 0
    assert (
        add(store, tmp_path / "b.jsonl", '{"id": "r-4", "label": 1}\n\n{"id": "r-5", "label": "bad", "row": 2}\n') == 0
    )

    found, broken = read_labels(store)

    assert {key: label.label for key, label in found.items()} == {
        ("r-1", 0): "good",
        ("r-2", 3): "bad",
        ("r-4", 0): "good",
        ("r-5", 2): "bad",
    }
    assert broken == 0
    assert found["r-1", 0].origin.endswith("a.csv")
    assert "2 labels taken" in capsys.readouterr().out


def test_what_arrives_later_mends_what_came_before(store, tmp_path):
    add(store, tmp_path / "a.csv", "id,label\nr-1,good\n")
    add(store, tmp_path / "b.csv", "id,label\nr-1,bad\n")

    assert read_labels(store)[0]["r-1", 0].label == "bad"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,label\nr-1,secret-word\n", "line 2: label: the model does not know it"),
        ("a.csv", "id,label\n../../etc/secret-word,good\n", "line 2: id: "),
        ("a.csv", "id,label\nr 1; secret-word,good\n", "line 2: id: "),
        ("a.csv", "id,label,row\nr-1,good,secret-word\n", "line 2: row: a whole number"),
        ("a.csv", "id,label,row\nr-1,good,-1\n", "line 2: row: "),
        ("a.csv", "id,label\nr-1,good\nr-1,bad\n", "line 3: this row of this request has another label"),
        ("a.csv", "name,value\nsecret-word,good\n", "must name the columns id and label"),
        ("a.csv", "id,label\n", "holds no label"),
        ("a.csv", "id,label\nr-1," + "secret-word" * 200 + "\n", "no CSV file of short cells"),
        ("a.jsonl", "secret-word\n", "line 1 is no JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is no JSON"),
        ("a.jsonl", '["secret-word"]\n', "line 1 is no JSON object"),
        ("a.jsonl", '{"id": "r-1", "label": {"secret-word": 1}}\n', "a text or a whole number"),
        ("a.jsonl", '{"id": 1, "label": "good"}\n', "line 1: id: "),
        ("a.csv", b"id,label\nr-1,\xff\n", "byte 13 is not UTF-8"),
        ("a.xml", "<a/>", "the name does not tell the format"),
        ("a.parquet", "PAR1", "labels are read from .csv, .tsv and .jsonl files"),
    ],
)
def test_a_file_that_is_wrong_is_not_taken_and_not_shown(store, tmp_path, capsys, name, content, message):
    assert add(store, tmp_path / name, content) == 2

    said = capsys.readouterr()
    assert message in said.err
    assert "secret-word" not in said.err + said.out
    assert not (store / "labels").exists()
