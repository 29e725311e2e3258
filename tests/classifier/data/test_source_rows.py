"""Rows are counted as preprocessing reads them, so that two counts can be compared."""

from __future__ import annotations

import json
from pathlib import Path

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
