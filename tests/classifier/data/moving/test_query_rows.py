"""The rows of a query are a file in the model store; a query that nobody has run is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.classifier.data.problems import DataError
from include.classifier.data.source_rows import count_rows
from include.classifier.preprocess import preprocess
from include.contracts.settings import DataConfig

DIGEST = "5" * 64


def settings(*train: str) -> DataConfig:
    small = {"min_rows": 2, "min_evaluation_rows": 2}
    return DataConfig.model_validate({"train": list(train), "labels": ["0", "1"]} | small)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "queries"
    folder.mkdir()
    rows = [{"text": f"row {number}", "label": number % 2} for number in range(20)]
    (folder / "tickets.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "tickets.json").write_text(json.dumps({"query_sha256": DIGEST, "rows": 20}))
    (folder / "broken.jsonl").write_text("")
    return folder


def test_rows_are_read_from_the_store_and_recorded_with_the_querys_digest(tmp_path: Path, folder: Path) -> None:
    more = tmp_path / "more.csv"
    more.write_text("text,label\nfine,1\n")
    options = {"model": "reviews", "seed": 1, "output_uri": (tmp_path / "dataset").as_uri()}
    document = preprocess(
        settings("query:tickets", str(more)),
        queries_uri=folder.as_uri(),
        allowed_sources=["query:tickets", str(tmp_path)],
        **options,
    )
    uri = f"{folder.as_uri()}/tickets.jsonl"
    assert document["sources"] == [
        {"uri": uri, "split": "train", "rows": 20, "named": "query:tickets", "query_sha256": DIGEST},
        {"uri": str(more), "split": "train", "rows": 1},
    ]


@pytest.mark.parametrize(
    ("source", "allowed", "says"),
    [
        ("query:broken", None, "query:broken: its rows are not there. Queries of `data.queries`"),
        ("query:tickets", ["query:other", "/", "file://", "hub:"], "is not read on behalf of a form"),
        ("query:../queries/tickets", None, "is no name of a query"),
        ("sql:warehouse:SELECT 1", None, "the name does not tell the format"),
    ],
)
def test_what_is_no_query_of_the_model_is_refused(
    tmp_path: Path, folder: Path, source: str, allowed: list[str] | None, says: str
) -> None:
    options = {"model": "reviews", "seed": 1, "output_uri": (tmp_path / "dataset").as_uri()}
    with pytest.raises(DataError, match=says):
        preprocess(settings(source), queries_uri=folder.as_uri(), allowed_sources=allowed, **options)
    with pytest.raises(DataError, match=says.partition("Queries")[0]):
        preprocess(settings(source), allowed_sources=allowed, **options)


def test_rows_of_a_query_are_not_counted_before_it_is_run() -> None:
    assert count_rows(settings("query:tickets")) == [{"uri": "query:tickets", "rows": 0}]
