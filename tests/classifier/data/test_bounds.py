"""Input without an end is given up, and everything that could be data is read."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest

from include.classifier.data import bounds
from include.classifier.data.bounds import check_plain, pieces, unpacked, whole_line
from include.classifier.data.problems import DataError


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set bounds that a test reaches at once."""
    monkeypatch.setattr(bounds, "LONGEST_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(bounds, "_FREE_BYTES", 2 << 20)
    monkeypatch.setattr(bounds, "_PIECE_BYTES", 1 << 20)


def test_a_line_without_an_end_is_given_up() -> None:
    content = b"a" * (1 << 20)
    assert whole_line(io.BytesIO(content), "a.csv") == content
    with pytest.raises(DataError, match=r"a\.csv: a line has more than 1 MB"):
        whole_line(io.BytesIO(content + b"a"), "a.csv")


@pytest.mark.parametrize("by", ["read", "readline"])
def test_a_small_file_that_unpacks_to_much_is_given_up(tmp_path: Path, by: str) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress((b"a" * 1023 + b"\n") * 4096))
    with gzip.open(path) as packed, pytest.raises(DataError, match="unpacks to more than 50 times its size"):
        file = unpacked(packed, path=str(path), name="a.csv.gz")
        while getattr(file, by)(1 << 16):
            pass


def test_a_file_of_data_is_read_to_its_end(tmp_path: Path) -> None:
    path, content = tmp_path / "a.csv.gz", os.urandom(3 << 20)
    path.write_bytes(gzip.compress(content))
    with gzip.open(path) as packed:
        assert unpacked(packed, path=str(path), name="a.csv.gz").read() == content


@pytest.mark.parametrize("kind", ["fifo", "link to a fifo", "device"])
def test_what_is_no_file_is_never_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.csv"
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
        if "link" in kind:
            path = tmp_path / "b.csv"
            path.symlink_to("a.csv")
    with pytest.raises(DataError, match="is no plain file"):
        check_plain(str(path), "a.csv")


@pytest.mark.parametrize("texts", [["a" * 300_000] * 10, ["", None, "b" * 2_000_000, "c"], [], [None], ["a", "b"] * 50])
def test_pieces_are_the_table_and_none_is_larger_than_it_must_be(texts: list[str | None]) -> None:
    import pyarrow as pa

    labels = list(range(len(texts)))
    column = pa.array(texts, pa.string()).dictionary_encode()
    table = pa.RecordBatch.from_arrays([pa.array(labels, pa.int64()), column], names=["label", "text"])
    found = list(pieces(table, ["text"]))
    assert [text for piece in found for text in piece.column("text").to_pylist()] == texts
    assert [label for piece in found for label in piece.column("label").to_pylist()] == labels
    for piece in found:
        assert len(piece) <= 1 or piece.nbytes < 2 * (1 << 20) + 2000
        assert piece.column("text").type == pa.string()
