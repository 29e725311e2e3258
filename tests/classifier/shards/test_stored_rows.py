"""What is written comes back, row by row, and what was changed does not."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from include.classifier.shards import reading
from include.classifier.shards.manifest import MANIFEST, Origin, ShardsError, read_manifest
from include.classifier.shards.reading import StoredRows
from include.classifier.shards.writing import TokenisedRows, write_shards

ORIGIN = Origin(dataset_sha256="a", tokenizer_sha256="b", max_length=32)
Rows = list[tuple[list[int], int]]


def some_rows(count: int, *, most: int = 65_535, seed: int = 0) -> Rows:
    chance = random.Random(seed)
    return [
        ([chance.randint(0, most) for _ in range(chance.randint(1, 30))], chance.randint(0, 4)) for _ in range(count)
    ]


def batches(rows: Rows, size: int) -> Iterator[TokenisedRows]:
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        yield TokenisedRows.of([ids for ids, _ in part], [label for _, label in part], truncated=1)


def write(folder: Path, rows: Rows, *, batch: int = 10, shard_rows: int = 25, token_type: str = "<u2") -> StoredRows:
    write_shards(batches(rows, batch), folder, origin=ORIGIN, token_type=token_type, shard_rows=shard_rows)  # type: ignore[arg-type]
    return StoredRows(folder)


def as_dicts(rows: Rows) -> list[dict]:
    return [{"input_ids": ids, "labels": label} for ids, label in rows]


@pytest.mark.parametrize("seed", range(10))
def test_rows_come_back_in_whatever_order_they_are_asked_for(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    most = chance.choice([255, 65_535, 100_000])
    rows = some_rows(chance.randint(1, 200), most=most, seed=seed)
    token_type = "<u2" if most < 65_536 else "<u4"
    stored = write(tmp_path, rows, batch=chance.randint(1, 40), shard_rows=chance.randint(1, 60), token_type=token_type)
    numbers = [chance.randrange(len(rows)) for _ in range(50)]

    assert len(stored) == len(rows) == stored.manifest.rows
    assert stored.__getitems__(numbers) == [as_dicts(rows)[number] for number in numbers]
    assert [stored[number] for number in range(len(rows))] == as_dicts(rows)
    assert stored[-1] == as_dicts(rows)[-1]
    assert stored.lengths(np.array(numbers)).tolist() == [len(rows[number][0]) for number in numbers]
    with pytest.raises(IndexError):
        stored[len(rows)]
    stored.verify()


def test_the_same_batches_give_the_same_bytes_and_what_was_left_by_an_earlier_try_is_written_over(
    tmp_path: Path,
) -> None:
    rows = some_rows(90)
    write(tmp_path / "once", rows)
    write(tmp_path / "again", some_rows(300, seed=5))
    write(tmp_path / "again", rows)

    for shard in StoredRows(tmp_path / "once").manifest.shards:
        for kind in ("tokens", "rows"):
            name = f"{shard.name}.{kind}"
            assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert read_manifest(tmp_path / "once") == read_manifest(tmp_path / "again")
    assert read_manifest(tmp_path / "once").truncated == 9  # type: ignore[union-attr]
    assert [shard.rows for shard in StoredRows(tmp_path / "once").manifest.shards] == [30, 30, 30]


def test_what_was_not_finished_is_nothing(tmp_path: Path) -> None:
    def broken_off() -> Iterator[TokenisedRows]:
        yield from batches(some_rows(40), 10)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_shards(broken_off(), tmp_path, origin=ORIGIN, token_type="<u2", shard_rows=25)
    assert read_manifest(tmp_path) is None
    with pytest.raises(ShardsError, match="no finished rows"):
        StoredRows(tmp_path)


@pytest.mark.parametrize("kind", ["tokens", "rows"])
def test_files_that_were_changed_are_told(tmp_path: Path, kind: str) -> None:
    stored = write(tmp_path, some_rows(90))
    file = tmp_path / f"shard-00001.{kind}"
    content = file.read_bytes()

    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ShardsError, match="Delete the folder"):
        stored.verify()
    file.write_bytes(content[:-4])
    with pytest.raises(ShardsError, match="Delete the folder"):
        StoredRows(tmp_path)
    with pytest.raises(ShardsError, match="Delete the folder"):
        [stored[number] for number in range(30, 60)]
    file.unlink()
    with pytest.raises(ShardsError, match="Delete the folder"):
        StoredRows(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(ShardsError, match=r"shards\.json: is not what was written"):
        StoredRows(tmp_path)


@pytest.mark.parametrize(("ids", "what"), [([[]], "no tokens"), ([[70_000]], "higher number")])
def test_rows_that_cannot_be_stored_are_refused(tmp_path: Path, ids: list[list[int]], what: str) -> None:
    with pytest.raises(ShardsError, match=what):
        write_shards([TokenisedRows.of([[1], *ids], [0, 0])], tmp_path, origin=ORIGIN, token_type="<u2")
    with pytest.raises(ShardsError, match="no rows"):
        write_shards([], tmp_path, origin=ORIGIN, token_type="<u2")


def test_a_copy_for_another_process_opens_its_own_files(tmp_path: Path) -> None:
    rows = some_rows(60)
    stored = write(tmp_path, rows)
    first = stored[0]

    copied = pickle.loads(pickle.dumps(stored))
    stored.close()

    assert copied[0] == first == stored[0]


def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_OPEN", 2)
    rows = some_rows(100)
    stored = write(tmp_path, rows, batch=5, shard_rows=5)

    numbers = random.Random(1).sample(range(100), 100)

    assert stored.__getitems__(numbers) == [as_dicts(rows)[number] for number in numbers]
    assert len(stored._open) == 2
