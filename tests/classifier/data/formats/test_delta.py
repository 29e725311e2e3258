"""Of a Delta table the rows of one version are read: neither what was deleted, nor what lies elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from include.classifier.data.dataset import read_dataset
from include.classifier.data.part_files import all_files
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source
from include.classifier.preprocess import preprocess
from include.contracts.settings import DataConfig
from tests.classifier.data.rows import Row, read_rows

DATA = DataConfig(train=["unused"], labels=["1", "2"])
FIELDS = ("text", "label", "later")


def commit(folder: Path, actions: Sequence[Mapping[str, Any]]) -> None:
    log = folder / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    number = len(list(log.glob("*.json")))
    (log / f"{number:020}.json").write_text("\n".join(map(json.dumps, actions)))


def made(folder: Path, features: Sequence[str] = (), **configuration: str) -> None:
    version = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    fields = [{"name": name, "type": "string", "nullable": True, "metadata": {}} for name in FIELDS]
    metadata = {
        "id": "d3f9a1de-6f0e-4c3e-8f8e-0a2f1f4a7a11",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": ["label"],
        "configuration": configuration,
        "createdTime": 1,
    }
    protocol = version if features else {"minReaderVersion": 1, "minWriterVersion": 2}
    commit(folder, [{"protocol": protocol}, {"metaData": metadata}])


def added(folder: Path, path: str, texts: list[str], label: str | None) -> dict[str, Any]:
    file = folder / unquote(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"text": texts}), file)
    facts = {"partitionValues": {"label": label}, "size": file.stat().st_size, "modificationTime": 1}
    return {"add": {"path": path, "dataChange": True, **facts}}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "My table"
    made(folder)
    first = added(folder, "label=1/b.parquet", ["fine", "nice"], "1")
    commit(folder, [first, added(folder, "label=2%2520%25C3%25BC/a.parquet", ["bad"], "2 ü")])
    removed = {"path": "label=1/b.parquet", "dataChange": True, "deletionTimestamp": 2}
    commit(folder, [{"remove": removed}, added(folder, "label=1/c.parquet", ["fine"], None)])
    return folder


def read(source: Source, **settings: Any) -> tuple[list[Row], list[str]]:
    problems = Problems()
    return read_rows(source, DATA.model_copy(update=settings), problems), problems.messages()


def named(folder: Path, allowed: Sequence[str] | None = None) -> Source:
    problems = Problems()
    found = all_files([Source(str(folder), "train", allowed)], problems)
    problems.raise_if_any()
    (source,) = found
    return source


def test_the_newest_version_is_read_and_stays_it(table: Path) -> None:
    source = named(table)
    rows = [Row(0, "fine", None), Row(1, "bad", "2 ü")]

    assert (source.name, source.version, source.place(1)) == (str(table), 2, "row index 1")
    assert read(source) == (rows, [])
    commit(table, [added(table, "label=1/d.parquet", ["later"], "1")])
    assert read(source) == (rows, [])
    assert (named(table).version, len(read(named(table))[0])) == (3, 3)


def test_the_version_is_recorded(tmp_path: Path) -> None:
    made(tmp_path / "table")
    texts = [f"{word} place" for word in ("kind", "quick", "tidy", "cheap", "warm")]
    commit(tmp_path / "table", [added(tmp_path / "table", "a.parquet", texts, "1")])
    commit(tmp_path / "table", [added(tmp_path / "table", "b.parquet", [f"no {text}" for text in texts], "2")])
    (tmp_path / "a.csv").write_text("text,label\nbad,1\ngood,2\n")
    settings = {"train": [str(tmp_path / "table")], "evaluation": [str(tmp_path / "a.csv")], "labels": ["1", "2"]}
    data = DataConfig(**settings, min_rows=2, min_evaluation_rows=2)

    preprocess(data, model="reviews", seed=1, output_uri=f"{tmp_path}/dataset")

    assert read_dataset(f"{tmp_path}/dataset")["sources"] == [
        {"uri": str(tmp_path / "table"), "split": "train", "rows": 10, "version": 2},
        {"uri": str(tmp_path / "a.csv"), "split": "evaluation", "rows": 2},
    ]


def test_columns_that_came_later_are_null_in_older_files(table: Path) -> None:
    assert read(named(table), label_column="later")[0][0] == Row(0, "fine", None)
    assert "missing columns: 'none'" in read(named(table), label_column="none")[1][0]


@pytest.mark.parametrize("path", ["../b.parquet", "%2e%2e/b.parquet", "a/../../b.parquet", "/b.parquet", "file:///b"])
def test_files_outside_of_the_table_are_not_read(table: Path, path: str) -> None:
    facts = {"partitionValues": {"label": "1"}, "size": 1, "modificationTime": 1, "dataChange": True}
    commit(table, [{"add": {"path": path, **facts}}])

    with pytest.raises(DataError, match="names files outside of its folder"):
        read(named(table))


def test_a_form_reads_no_link_out_of_a_table(table: Path) -> None:
    allowed = [str(table.parent)]
    assert len(read(named(table, allowed))[0]) == 2
    outside = table.parent.parent / "outside.parquet"
    (table / "label=1/c.parquet").rename(outside)
    (table / "label=1/c.parquet").symlink_to(outside)
    with pytest.raises(DataError, match="not read on behalf of a form"):
        read(named(table, allowed))
    outside.unlink()
    for name in ("/dev/zero", "fifo"):
        log = table / "_delta_log" / "00000000000000000003.json"
        log.unlink(missing_ok=True)
        os.mkfifo(log) if name == "fifo" else log.symlink_to(name)
        with pytest.raises(DataError):
            named(table, allowed)


@pytest.mark.parametrize(
    ("features", "configuration", "said"),
    [
        (["timestampNtz"], {}, None),
        (["columnMapping"], {"delta.columnMapping.mode": "name"}, "uses columnMapping, which|that can be read"),
        (["typeWidening"], {}, "uses typeWidening, which is not read. Export the table as Parquet."),
    ],
)
def test_a_table_that_asks_for_more_is_refused(
    tmp_path: Path, features: list[str], configuration: dict[str, str], said: str | None
) -> None:
    made(tmp_path, features, **configuration)
    commit(tmp_path, [added(tmp_path, "a.parquet", ["fine"], "1")])
    if said is None:
        assert read(named(tmp_path))[0] == [Row(0, "fine", "1")]
    else:
        with pytest.raises(DataError, match=said):
            read(named(tmp_path))


def test_a_table_in_a_store_is_read_by_a_copy_of_its_log(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryFileSystem()
    store.put(str(table), "/bucket/table", recursive=True)
    monkeypatch.setattr(Source, "filesystem", lambda source: (store, f"/{source.uri.partition('://')[2].lstrip('/')}"))

    problems = Problems()
    (source,) = all_files([Source("s3://bucket/table", "train")], problems)
    try:
        assert (source.name, source.version) == ("s3://bucket/table", 2)
        assert read(source) == ([Row(0, "fine", None), Row(1, "bad", "2 ü")], [])
    finally:
        store.rm("/bucket", recursive=True)


def test_a_log_that_is_broken_is_not_repeated(table: Path) -> None:
    (table / "_delta_log" / "00000000000000000003.json").write_text('{"add": a secret}')

    with pytest.raises(DataError, match="is not a Delta table that can be read") as caught:
        read(named(table))
    assert "secret" not in str(caught.value)


def test_without_its_package_the_message_names_it(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)

    with pytest.raises(DataError, match="the package deltalake, which reads its log, is not there"):
        named(table)


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("a/_delta_log/0.json", "holds Delta tables. Name each of them"),
        ("metadata/v1.metadata.json", "is a table of Iceberg or Hudi, whose files hold deleted rows as well"),
        (".hoodie/hoodie.properties", "is a table of Iceberg or Hudi"),
    ],
)
def test_tables_of_another_kind_are_no_part_files(tmp_path: Path, inside: str, said: str) -> None:
    for name in (inside, "part-0.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    with pytest.raises(DataError, match=said):
        named(tmp_path)
