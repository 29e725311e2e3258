"""Input that unpacks without an end, or never begins: given up in seconds, and in bounded memory."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from include.classifier.data.problems import DataError

if TYPE_CHECKING:
    import pyarrow as pa

#: A longer line is no row: the longest text that a setting is likely to allow has a hundredth of it.
LONGEST_LINE_BYTES = 32 << 20
#: So much may come of any file, however small it is.
_FREE_BYTES = 64 << 20
#: And so much of each of its bytes: texts and labels that repeat each other come to half of that.
_LARGEST_RATIO = 50
#: Rows of a table are handed out in pieces of about this size.
_PIECE_BYTES = 16 << 20


def check_plain(path: str, name: str) -> None:
    """Make sure that a path is a file: from a FIFO or a device nothing comes, or no end.

    :raises DataError: when it is something else. What is not there is left to whoever opens it.
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(f"{name}: is no plain file. Copy what it gives into one.")


class Unpacked(io.RawIOBase):
    """Counts what comes of a compressed file.

    :param file: its unpacked bytes.
    :param packed_bytes: its size.
    :param name: how messages call it.
    """

    def __init__(self, file: IO[bytes], *, packed_bytes: int, name: str) -> None:
        self._file = file
        self._name = name
        self._left = most_bytes(packed_bytes)

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read as files do.

        :raises DataError: when more has come of the file than could be data.
        """
        content = self._file.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise unbounded(self._name)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def unpacked(file: IO[bytes], *, path: str, name: str) -> IO[bytes]:
    """Return a compressed file's bytes, of which no more come than could be data.

    :param path: of the compressed file.
    """
    return cast("IO[bytes]", Unpacked(file, packed_bytes=Path(path).stat().st_size, name=name))


def whole_line(file: IO[bytes], name: str) -> bytes:
    """Read to the end of a line.

    :raises DataError: when there is none within :data:`LONGEST_LINE_BYTES`.
    """
    line = file.readline(LONGEST_LINE_BYTES + 1)
    if len(line) > LONGEST_LINE_BYTES:
        raise DataError(
            f"{name}: a line has more than {LONGEST_LINE_BYTES >> 20} MB. Write one row to a line, and look whether "
            "the file is what its name says."
        )
    return line


def pieces(table: pa.RecordBatch, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield a table's rows in pieces with about as many bytes of text each, however often a text is repeated.

    :param columns: the texts; plain, or as dictionaries with each of them once.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    packed = [name for name in columns if pa.types.is_dictionary(table.schema.field(name).type)]
    lengths = np.zeros(len(table), dtype=np.int64)
    for name in packed:
        texts = table.column(name)
        found = pc.fill_null(pc.take(pc.binary_length(texts.dictionary), texts.indices), 0)
        lengths += found.to_numpy(zero_copy_only=False)
    piece = np.cumsum(lengths) // _PIECE_BYTES
    begins = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(table)]
    for begin, end in pairwise(begins):
        part = table.slice(begin, end - begin)
        for name in packed:
            position = table.schema.get_field_index(name)
            part = part.set_column(position, name, part.column(name).dictionary_decode())
        yield part


def most_bytes(packed_bytes: int) -> int:
    """Return how many bytes may come of a file of this size."""
    return max(_FREE_BYTES, _LARGEST_RATIO * packed_bytes)


def unbounded(name: str, ratio: int | None = None) -> DataError:
    """Return the error for a file of which more comes than could be data.

    :param ratio: what may come of each of its bytes, where that is not what may come of any file's.
    """
    return DataError(
        f"{name}: unpacks to more than {ratio or _LARGEST_RATIO} times its size, which no reviews do. Look whether the "
        "file is what its name says; unpack it yourself if it is."
    )
