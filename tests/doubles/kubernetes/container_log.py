"""What a container wrote, line by line with its time, readable while it grows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.doubles.kubernetes.clock import Clock


class ContainerLog:
    """The log of one container from start to end."""

    def __init__(self) -> None:
        self._lines: list[tuple[datetime, str]] = []
        self._grown = threading.Condition()
        self._ended = False

    def write(self, line: str) -> None:
        with self._grown:
            self._lines.append((datetime.now(UTC), line))
            self._grown.notify_all()

    def end(self) -> None:
        with self._grown:
            self._ended = True
            self._grown.notify_all()

    def tail(self, *, lines: int = 80, characters: int = 2048) -> str:
        """Return the end of the log, as much of it as a termination message holds."""
        return "".join(f"{line}\n" for _, line in self._lines[-lines:])[-characters:]

    def read(
        self,
        *,
        clock: Clock,
        follow: bool = False,
        since: datetime | None = None,
        tail_lines: int | None = None,
        timestamps: bool = False,
    ) -> Iterator[str]:
        """Yield lines with their line ends; an empty text now and then while there is nothing new to follow.

        :param since: leave out what was written before.
        """
        at = self._start(since, tail_lines)
        while True:
            with self._grown:
                if follow and at >= len(self._lines) and not self._ended:
                    self._grown.wait(0.2)
                batch, ended = self._lines[at:], self._ended
            at += len(batch)
            for moment, line in batch:
                yield f"{_nanoseconds(moment)} {line}\n" if timestamps else f"{line}\n"
            if not batch and (ended or not follow or clock.stopped):
                return
            if not batch:
                yield ""

    def _start(self, since: datetime | None, tail_lines: int | None) -> int:
        with self._grown:
            first = 0
            while since is not None and first < len(self._lines) and self._lines[first][0] < since:
                first += 1
            return first if tail_lines is None else max(first, len(self._lines) - tail_lines)


def _nanoseconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
