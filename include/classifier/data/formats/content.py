"""What a file holds: known by its first bytes, because names and servers tell it wrongly."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import IO, NamedTuple, cast

from include.classifier.data.bounds import unpacked

#: First bytes -> what opens it. A server may have unpacked a .gz on its way, and a .csv may be one.
_UNPACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_PACKED_NAMES = (".gz", ".bz2", ".xz")


class Kind(NamedTuple):
    """Something that is no text."""

    first: bytes
    what: str
    remedy: str


_NO_TEXT = (
    Kind(
        b"PK\x03\x04",
        "is a workbook or a zip archive, not text",
        "Let the name of a workbook end in .xlsx, or save the sheet as CSV; unpack an archive.",
    ),
    Kind(b"\xd0\xcf\x11\xe0", "is a workbook of the old format, not text", "Save it as .xlsx, or the sheet as CSV."),
    Kind(b"PAR1", "is a Parquet file", "Let its name end in .parquet."),
    Kind(b"ARROW1", "is an Arrow file", "Save it as Parquet."),
    Kind(b"SQLite format 3", "is a database, not text", "Export the table as CSV."),
    Kind(b"%PDF-", "is a PDF, not text", "Export the table as CSV."),
)


def open_content(path: str, name: str, *, is_table: bool) -> IO[bytes]:
    """Open a local file, unpacked where it is compressed: no more comes of it than could be data.

    :param name: how messages call it.
    :param is_table: whether it is read from its end, as Parquet is.
    """
    with Path(path).open("rb") as beginning:
        first = beginning.read(6)
    for magic, opened in _UNPACKED:
        if first.startswith(magic):
            file = cast("IO[bytes]", opened(path, "rb"))
            return file if is_table else unpacked(file, path=path, name=name)
    return Path(path).open("rb")


def no_text(first: bytes) -> Kind | None:
    """Return what a file is whose first bytes show that it is no text."""
    return next((kind for kind in _NO_TEXT if first.startswith(kind.first)), None)
