"""The files of captured requests, written by one producer: by day, whole when they appear, and together bounded."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO

from include.contracts.monitoring.layout import SUFFIX, days, files

PART = ".part"


@dataclass(slots=True)
class _Open:
    path: Path
    day: date
    file: BinaryIO
    since: float
    size: int = 0


class DayFiles:
    """Appends lines to a file of the day and closes it when it is large or old enough.

    :param folder: ``captured`` of a model; made when it is absent. Files are for this user, and for the group where the
        umask lets it.
    :param producer: part of the files' names; no other that writes there now has it.
    :param most_bytes: of all files in it, of whatever producer: the oldest finished ones go first.
    :param file_bytes: a file that has more is closed.
    :param file_seconds: a file that is older is closed.
    """

    def __init__(
        self, folder: Path, producer: str, *, most_bytes: int, file_bytes: int = 8_000_000, file_seconds: float = 60
    ) -> None:
        self._folder = folder
        self._producer = producer
        self._most_bytes = most_bytes
        self._file_bytes = min(file_bytes, max(1, most_bytes // 8))
        self._file_seconds = file_seconds
        self._number = 0
        self._open: _Open | None = None
        self.deleted = 0  #: Files that had to go to make room.

    def write(self, line: bytes, *, now: float) -> None:
        """Append a line.

        :param now: seconds since 1970.
        :raises OSError: when it cannot be written, or not within the bound. What was written before is not lost.
        """
        day = datetime.fromtimestamp(now, UTC).date()
        if self._open and (self._open.day != day or self._open.size + len(line) > self._file_bytes):
            self.close()
        if self._open is None:
            self._open = self._begin(day, now, len(line))
        begun = self._open.size
        try:
            self._open.file.write(line)
        except OSError:
            # Half a line must not be the beginning of another one.
            with suppress(OSError):
                os.ftruncate(self._open.file.fileno(), begun)
                self._open.file.seek(begun)
            self.close()
            raise
        self._open.size += len(line)

    def close_if_due(self, *, now: float) -> None:
        """Close the file that is old enough.

        :raises OSError: when it cannot be finished.
        """
        if self._open and now - self._open.since >= self._file_seconds:
            self.close()

    def close(self) -> None:
        """Finish the file, so that readers see it; harmless without one.

        :raises OSError: when it cannot be finished.
        """
        found, self._open = self._open, None
        if found:
            with found.file as file:
                _finish(file, found.path)

    def recover(self) -> int:
        """Finish what producers have left that were killed: up to the last whole line of each file.

        :return: how many files.
        """
        found = 0
        for path in parts(self._folder):
            with suppress(OSError):
                found += finish_left(path)
        return found

    def _begin(self, day: date, now: float, size: int) -> _Open:
        self._make_room(max(size, self._file_bytes))
        folder = self._folder / day.isoformat()
        folder.mkdir(mode=0o770, parents=True, exist_ok=True)
        self._number += 1
        path = folder / f".{self._producer}-{self._number:06d}{SUFFIX}{PART}"
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660), "wb", buffering=0)
        # By the lock others know that somebody still writes it.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _Open(path, day, file, now)

    def _make_room(self, needed: int) -> None:
        total = sum(_sizes(self._folder))
        for day in days(self._folder):
            for path in files(self._folder, day):
                if total + needed <= self._most_bytes:
                    return
                with suppress(FileNotFoundError):
                    size = path.stat().st_size
                    path.unlink()
                    total -= size
                    self.deleted += 1
            with suppress(OSError):  # not empty: somebody writes there
                (self._folder / day.isoformat()).rmdir()
        if total + needed > self._most_bytes:
            raise OSError(f"{self._folder} is full: {total} bytes, which other producers are writing")


def parts(folder: Path) -> list[Path]:
    """Return the files that are being written, or were left."""
    return sorted(folder.glob(f"*/.*{SUFFIX}{PART}"))


def finish_left(path: Path) -> bool:
    """Finish a file whose writer is gone.

    :return: whether it was; ``False`` while somebody writes it.
    :raises OSError: when that cannot be told.
    """
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return True  # its writer has finished it
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not path.exists():
            return True
        file.truncate(_end_of_last_line(file))
        _finish(file, path)
    return True


def _finish(file: BinaryIO, path: Path) -> None:
    """Give a file its own name while it is locked; one without a line goes."""
    os.fsync(file.fileno())
    if os.fstat(file.fileno()).st_size:
        path.replace(path.with_name(path.name.removeprefix(".").removesuffix(PART)))
    else:
        path.unlink(missing_ok=True)


def _end_of_last_line(file: BinaryIO) -> int:
    """Return how many bytes there are up to the end of the last whole line."""
    step, end = 1 << 16, file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - step)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.glob("*/*"):
        with suppress(OSError):
            yield path.stat().st_size
