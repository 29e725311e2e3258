"""Rows that get no prediction: each with its place and the reason, and never with its text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from include.classifier.data.formats.lines import NOT_UTF8
from include.classifier.data.problems import Problems

#: Of rows that could be read.
EMPTY = "the text is empty"
FAILED = "the model failed on the text"


class Rejections(Problems):
    """Takes rows that alone are wrong for rejected; whatever else is wrong with a file remains a problem."""

    def __init__(self) -> None:
        super().__init__()
        self._unreadable: dict[int, str] = {}
        self._not_utf8: list[int] = []

    def add(self, source: str, what: str, remedy: str, *, place: str = "", row: int | None = None) -> None:
        """Note a row, or a problem."""
        if row is None:
            super().add(source, what, remedy, place=place)
        elif what == NOT_UTF8:
            self._not_utf8.append(row)
        else:
            self._unreadable[row] = what

    def take_rows(self, numbers: Sequence[int]) -> tuple[dict[int, str], dict[int, str]]:
        """Return line -> reason of what was found since the last time: of lines that are no rows, and of rows.

        A line with wrong bytes may lie in the middle of a row, which then is wrong as a whole.

        :param numbers: of the rows that were read since then.
        """
        unreadable, not_utf8 = self._unreadable, self._not_utf8
        self._unreadable, self._not_utf8 = {}, []
        if not not_utf8:
            return unreadable, {}
        read = set(numbers)
        begins = sorted({*read, *unreadable})
        rows: dict[int, str] = {}
        for line in not_utf8:
            found = bisect_right(begins, line) - 1
            begin = begins[found] if found >= 0 else line
            of = rows if begin in read else unreadable
            of.setdefault(begin, NOT_UTF8)
        return unreadable, rows
