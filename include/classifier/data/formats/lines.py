"""The lines of a text file, one by one with their places, or many at once for whoever can read them at once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

from include.classifier.data.bounds import whole_line
from include.classifier.data.formats.encodings import as_utf8, encoding_remedy
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source

#: Bytes that are looked at in one go.
CHUNK_BYTES = 4 << 20
#: What is wrong with a line that can be read but for some bytes.
NOT_UTF8 = "the bytes are not UTF-8"
#: Bytes that a row may take which is looked at before it is read.
_MOST_TO_COME = 4 << 20


class Lines(Iterator[str]):
    """Decodes line by line, to tell where the bytes are wrong, and goes on behind them to find all such lines.

    :param file: its bytes, from the beginning.
    :param problems: gathers lines that are not UTF-8.
    :param encoding: as ``data.encoding`` names it.
    """

    def __init__(self, file: IO[bytes], source: Source, problems: Problems, encoding: str | None = None) -> None:
        self._file, self.sample = as_utf8(file, encoding)
        self._source = source
        self._problems = problems
        self._ahead = io.BytesIO()
        self._ahead_bytes = 0
        self._over = False
        self._told = ""
        self.broken = False  #: Whether the first line could not be read.
        self.number = 0  #: Lines that were handed out.
        self.offset = 0  #: Bytes of them.

    def __next__(self) -> str:
        line = b"" if self._over else self._ahead.readline() or whole_line(self._file, self._source.name)
        if not line:
            self._end()
            raise StopIteration
        begin, first = self.offset, self.offset == 0
        self._advance(lines=1, size=len(line))
        try:
            return line.decode("utf-8-sig" if first else "utf-8")
        except UnicodeDecodeError as error:
            self._problems.add(
                self._source.name,
                NOT_UTF8,
                self._remedy(line),
                place=f"{self._source.place(self.number)} (byte {begin + error.start + 1})",
                row=None if first else self.number,
            )
        if first:
            self._over = self.broken = True  # nothing below a header that cannot be read makes sense
            raise StopIteration
        return line.decode("utf-8", errors="replace")

    def _remedy(self, line: bytes) -> str:
        if not self._told:  # once for all lines, or each would be a problem of its own
            self._told = encoding_remedy(self.sample + line)
        return self._told

    def _end(self) -> None:
        if not self.offset:
            self._problems.add(self._source.name, "the file is empty", "Check whether writing it has failed.")
        self._over = True

    def _advance(self, *, lines: int, size: int) -> None:
        self.number += lines
        self.offset += size
        self._ahead_bytes = max(0, self._ahead_bytes - size)

    @property
    def looked_ahead(self) -> bool:
        """Whether lines are left of what :meth:`look_ahead` returned."""
        return self._ahead_bytes > 0

    def look_ahead(self) -> bytes:
        """Return the next lines without handing them out; empty at the end of the file."""
        if self._over:
            return b""
        chunk = self._unread() + self._file.read(CHUNK_BYTES)
        chunk += whole_line(self._file, self._source.name)
        if not chunk:
            self._end()
        self._ahead, self._ahead_bytes = io.BytesIO(chunk), len(chunk)
        return chunk

    def to_come(self) -> Iterator[str]:
        """Yield the next lines, at most :data:`_MOST_TO_COME` bytes or one, without handing them out."""
        begin, ahead = 0, self._unread() or self.look_ahead()
        while begin < len(ahead):
            end = ahead.find(b"\n", begin) + 1 or len(ahead)
            yield ahead[begin:end].decode("utf-8" if begin or self.offset else "utf-8-sig", errors="replace")
            begin = end
            if begin == len(ahead) < _MOST_TO_COME:
                ahead = self.look_ahead()

    def _unread(self) -> bytes:
        return self._ahead.getvalue()[self._ahead.tell() :]

    def skip(self, *, lines: int, size: int) -> None:
        """Hand out lines that were looked at, unread.

        :param size: their bytes.
        """
        self._ahead.seek(size, io.SEEK_CUR)
        self._advance(lines=lines, size=size)
