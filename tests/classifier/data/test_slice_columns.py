"""Slices by a column: who belongs to them stays with its row, whatever the format, and costs others nothing."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from openpyxl import Workbook
from pyarrow import parquet

from include.classifier.data.dataset import read_dataset, read_slices, read_split, slice_rules
from include.classifier.data.problems import DataError
from include.classifier.preprocess import preprocess
from include.contracts.settings import DataConfig

SLICES = [
    {"name": "mobile", "column": "source", "equals": ["app", "tablet"]},
    {"name": "first shop", "column": "shop", "equals": "1"},
    {"name": "short", "words": {"at_most": 3}},
]
#: Every third row is of the app, every second of the first shop; each seventh is there twice, and some say nothing.
ROWS: list[dict[str, Any]] = [
    {
        "text": "" if number % 13 == 5 else f"text number {number if number % 7 else 7}",
        "label": "bad" if number % 2 else "good",
        "source": ["app", "web", None, "tablet "][number % 4],
        "shop": number % 2,
    }
    for number in range(80)
]


def written(path: Path, rows: list[dict[str, Any]] = ROWS) -> str:
    names = list(rows[0])
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".xlsx":
        book = Workbook()
        for row in [names, *([row[name] for name in names] for row in rows)]:
            book.active.append(row)
        book.save(path)
    else:
        lines = [",".join("" if row[name] is None else str(row[name]) for name in names) for row in rows]
        path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return str(path)


def config(*train: str, **settings: Any) -> DataConfig:
    least = {"min_rows": 2, "min_evaluation_rows": 2}
    return DataConfig.model_validate({"train": list(train), "labels": ["bad", "good"], **least, **settings})


def made(data: DataConfig, folder: Path) -> dict[str, Any]:
    preprocess(data, model="reviews", seed=1, output_uri=folder.as_uri())
    return read_dataset(folder.as_uri())


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "xlsx"])
def test_rows_keep_their_slices_when_others_are_dropped_and_split_off(tmp_path: Path, kind: str) -> None:
    document = made(config(written(tmp_path / f"a.{kind}"), slices=SLICES), tmp_path / "dataset")
    of_text = {row["text"]: row for row in reversed(ROWS)}  # of the same texts the first stays

    assert [rule.name for rule in slice_rules(document)] == ["mobile", "first shop", "short"]
    for split in ("train", "evaluation"):
        texts, found = read_split(document, split).texts, read_slices(document, split)
        assert found.keys() == {"mobile", "first shop"}
        assert found["mobile"].tolist() == [of_text[text]["source"] in ("app", "tablet ") for text in texts]
        assert found["first shop"].tolist() == [of_text[text]["shop"] == 1 for text in texts]


def test_a_data_set_is_the_same_however_it_is_sliced(tmp_path: Path) -> None:
    source = written(tmp_path / "a.csv")
    plain, sliced = made(config(source), tmp_path / "1"), made(config(source, slices=SLICES), tmp_path / "2")

    assert plain["sha256"] == sliced["sha256"]
    assert "slices" not in plain and "slices_sha256" not in plain["splits"]["train"]
    assert parquet.read_schema(tmp_path / "1" / "train.parquet").names == ["text", "label"]
    assert parquet.read_schema(tmp_path / "2" / "train.parquet").names == [
        "text",
        "label",
        "slice mobile",
        "slice first shop",
    ]
    assert read_slices(plain, "evaluation") == {}


def test_slices_go_with_dates_and_only_evaluation_files_need_the_column(tmp_path: Path) -> None:
    dated = [row | {"day": f"2026-03-0{1 + number % 3}"} for number, row in enumerate(ROWS)]
    other = [{"text": f"another {number}", "label": row["label"]} for number, row in enumerate(ROWS)]
    source = written(tmp_path / "a.csv", dated)
    data = config(source, slices=SLICES[:1], last="2 days", date_column="day", until="today")
    preprocess(
        data,
        model="reviews",
        seed=1,
        output_uri=(tmp_path / "dated").as_uri(),
        as_of=datetime.fromisoformat("2026-03-02T12:00+00:00"),
    )
    document = read_dataset((tmp_path / "dated").as_uri())
    of_text = {row["text"]: row for row in reversed(dated) if row["day"] != "2026-03-03"}
    assert read_slices(document, "train")["mobile"].tolist() == [
        of_text[text]["source"] in ("app", "tablet ") for text in read_split(document, "train").texts
    ]

    apart = made(config(written(tmp_path / "b.csv", other), evaluation=source, slices=SLICES[:1]), tmp_path / "apart")
    assert not read_slices(apart, "train")["mobile"].any()
    assert read_slices(apart, "evaluation")["mobile"].any()


def test_a_column_that_is_not_there_and_a_file_that_was_changed_are_named(tmp_path: Path) -> None:
    other = [{"text": f"another {number}", "label": row["label"]} for number, row in enumerate(ROWS)]
    with pytest.raises(DataError, match=r"missing columns: 'source'.*the columns of slices in the model's YAML"):
        made(config(written(tmp_path / "b.csv", other), slices=SLICES[:1]), tmp_path / "1")
    for label in ("bad", "good"):
        (tmp_path / "folders" / label).mkdir(parents=True)
        (tmp_path / "folders" / label / "a.txt").write_text(label)
    with pytest.raises(DataError, match="has no column 'source', which slices go by"):
        made(config(str(tmp_path / "folders"), slices=SLICES[:1]), tmp_path / "2")

    document = made(config(written(tmp_path / "a.csv"), slices=SLICES), tmp_path / "3")
    file = tmp_path / "3" / "evaluation.parquet"
    table = parquet.read_table(file)
    turned = pa.array([not value for value in table.column("slice mobile").to_pylist()])
    parquet.write_table(table.set_column(2, "slice mobile", turned), file)
    assert read_split(document, "evaluation").texts
    with pytest.raises(DataError, match="was changed after"):
        read_slices(document, "evaluation")
