"""What is written is what is read, and its digests change with the content alone."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from include.classifier.data.dataset import Split, digest, read_dataset, read_split, write_dataset
from include.classifier.data.problems import DataError
from include.contracts.documents import DocumentError

SPLITS: Any = {"train": Split(["a", "é", "c"], [0, 1, 0]), "evaluation": Split(["d"], [1])}
ROWS_AS_BYTES = [(b"a", b"\0"), ("é".encode(), b"\1"), (b"c", b"\0")]
DROPPED: Any = {name: {"train": 0, "evaluation": 0} for name in ("empty", "unknown_label", "duplicate", "leaked")}


def write(folder: Path, splits: Any = SPLITS, labels: tuple[str, ...] = ("bad", "good")) -> dict[str, Any]:
    return write_dataset(
        folder.as_uri(),
        model="reviews",
        label_names=labels,
        splits=splits,
        sources=[{"uri": "a.csv", "split": "train", "rows": 4}],
        rows_in=4,
        dropped=DROPPED,
    )


def test_document_and_rows_come_back(tmp_path: Path) -> None:
    document = write(tmp_path / "new" / "dataset")

    assert read_dataset((tmp_path / "new" / "dataset").as_uri()) == document
    assert read_dataset(f"{tmp_path}/new/dataset/dataset.json") == document
    assert {name: read_split(document, name) for name in SPLITS} == SPLITS
    assert document["splits"]["train"]["label_counts"] == {"bad": 2, "good": 1}
    assert (document["rows_in"], document["rows_kept"]) == (4, 4)


def test_parquet_has_the_promised_columns(tmp_path: Path) -> None:
    write(tmp_path)

    assert parquet.read_schema(tmp_path / "train.parquet").equals(
        pa.schema([("text", pa.string()), ("label", pa.int64())])
    )


def test_any_store_that_fsspec_knows_will_do() -> None:
    document = write_dataset(
        "memory://models/reviews/1/dataset/",
        model="reviews",
        label_names=["bad", "good"],
        splits=SPLITS,
        sources=[],
        rows_in=4,
        dropped=DROPPED,
    )

    assert document["splits"]["train"]["uri"] == "memory://models/reviews/1/dataset/train.parquet"
    assert read_dataset("memory://models/reviews/1/dataset") == document
    assert read_split(document, "evaluation") == SPLITS["evaluation"]


def test_repeating_it_gives_the_same_bytes_and_digests(tmp_path: Path) -> None:
    documents = [write(tmp_path / "one"), write(tmp_path / "two"), write(tmp_path / "two")]

    assert len({document["sha256"] for document in documents}) == 1
    for name in ("train.parquet", "evaluation.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "dataset.json",
        "evaluation.parquet",
        "train.parquet",
    ]


def in_batches(split: Split, rows: int) -> Iterator[pa.RecordBatch]:
    (batch,) = split.batches()
    for begin in range(0, len(batch), rows):
        yield batch.slice(begin, rows)


def test_bytes_and_digests_do_not_depend_on_how_the_rows_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.classifier.data.dataset.GROUP_ROWS", 50)
    monkeypatch.setattr("include.classifier.data.dataset.GROUP_BYTES", 300)
    split = Split(["x" * (number % 40) for number in range(1000)], [number % 2 for number in range(1000)])
    documents = [write(tmp_path / str(rows), SPLITS | {"train": in_batches(split, rows)}) for rows in (1, 7, 64, 1000)]

    assert {document["splits"]["train"]["sha256"] for document in documents} == {digest(split, ["bad", "good"])}
    assert len({(tmp_path / str(rows) / "train.parquet").read_bytes() for rows in (1, 7, 64, 1000)}) == 1
    assert read_split(documents[0], "train") == split
    assert documents[0]["splits"]["train"]["label_counts"] == {"bad": 500, "good": 500}
    file = parquet.ParquetFile(tmp_path / "1" / "train.parquet")
    lengths = [
        [len(text) for text in file.read_row_group(index).column("text").to_pylist()]
        for index in range(file.num_row_groups)
    ]
    assert all(len(group) <= 50 and sum(group) <= 300 for group in lengths)
    assert all(len(group) == 50 or sum(group) + following[0] > 300 for group, following in itertools.pairwise(lengths))


def test_row_group_holds_one_text_at_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.classifier.data.dataset.GROUP_BYTES", 2)
    split = Split(["long", "longer", "", "b"], [0, 1, 0, 1])

    assert read_split(write(tmp_path, SPLITS | {"train": split}), "train") == split
    assert parquet.ParquetFile(tmp_path / "train.parquet").num_row_groups == 3


@pytest.mark.parametrize(
    "other",
    [
        Split(["a", "é"], [0, 1]),
        Split(["a", "é", "c"], [0, 1, 1]),
        Split(["é", "a", "c"], [1, 0, 0]),
        Split(["aé", "", "c"], [0, 1, 0]),
    ],
)
def test_digest_changes_with_every_change_of_the_rows(other: Split) -> None:
    assert digest(other, ["bad", "good"]) != digest(SPLITS["train"], ["bad", "good"])


def test_digest_is_what_it_has_always_been() -> None:
    content = b"".join(
        (
            *(len(name).to_bytes(8, "big") + name for name in (b"bad", b"good")),
            *(len(text).to_bytes(8, "big") + text + bytes(7) + label for text, label in ROWS_AS_BYTES),
        )
    )

    assert digest(SPLITS["train"], ["bad", "good"]) == hashlib.sha256(content).hexdigest()


def test_digest_changes_with_the_label_names() -> None:
    assert digest(SPLITS["train"], ["bad", "good"]) != digest(SPLITS["train"], ["good", "bad"])


def test_unfinished_second_try_does_not_look_finished(tmp_path: Path) -> None:
    write(tmp_path)
    broken = copy.copy(SPLITS) | {"evaluation": Split(["d"], ["not a class"])}  # type: ignore[list-item]

    with pytest.raises(pa.ArrowException):
        write(tmp_path, broken)

    with pytest.raises(DataError, match=r"dataset\.json: not found\. Run preprocessing first"):
        read_dataset(tmp_path.as_uri())


def test_document_that_breaks_its_schema_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="labels"):
        write(tmp_path, labels=("bad",))

    assert not (tmp_path / "dataset.json").exists()


def test_rows_that_were_changed_afterwards_are_refused(tmp_path: Path) -> None:
    document = write(tmp_path)
    parquet.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "train.parquet")

    with pytest.raises(DataError, match=r"train\.parquet: was changed"):
        read_split(document, "train")
