"""The newest captured requests that can be asked again, read within bounds: they are many, and anybody's data."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from include.contracts.monitoring.captured import CapturedRequest, ReadingCounts, read
from include.contracts.monitoring.layout import CAPTURED, days

#: Of files that are read for one question: a few seconds.
MOST_BYTES = 100_000_000

#: Of inputs that are held at a time, about.
MOST_HELD_BYTES = 50_000_000

#: Parts of an input that are looked at.
_MOST_PARTS = 100_000


@dataclass(slots=True)
class Newest:
    """What was found.

    :param requests: that can be asked again, the newest first.
    :param other_versions: that another version has answered, or nobody says which.
    :param without_inputs: of which too little was kept to ask again.
    :param without_answers: in whose answer there is nothing to compare with.
    :param is_cut: whether there was more than is read or held at once.
    """

    requests: list[CapturedRequest] = field(default_factory=list)
    other_versions: int = 0
    without_inputs: int = 0
    without_answers: int = 0
    is_cut: bool = False


def newest_requests(
    store: Any,
    version: str | None,
    *,
    most: int,
    back_days: int,
    now: datetime,
    can_be_asked: Callable[[CapturedRequest], bool],
    has_answer: Callable[[CapturedRequest], bool] = lambda request: True,
    counts: ReadingCounts,
    most_bytes: int = MOST_BYTES,
    most_held_bytes: int = MOST_HELD_BYTES,
) -> Newest:
    """Return the newest requests that were answered. Days are read from the latest on, until there are enough.

    :param store: the model's folder in the store, see :func:`~include.contracts.monitoring.captured.days`.
    :param version: that has answered; ``None``: whichever.
    :param most: so many of them.
    :param back_days: how far back is looked.
    :param can_be_asked: tells whether enough of the input was kept.
    :param has_answer: tells whether there is something to compare with.
    :param counts: gets what was come across.
    :raises OSError: when the folder cannot be listed.
    """
    found = Newest()
    kept: list[tuple[str, int, int, CapturedRequest]] = []  # a heap, the oldest on top
    held = number = 0
    period = ((now - timedelta(days=back_days)).date(), now.date())
    for request in _from_the_latest_day(store, period, counts, most_bytes, enough=lambda: len(kept) >= most):
        if request.status >= 300 or version not in (None, request.version):
            found.other_versions += 1
        elif not can_be_asked(request):
            found.without_inputs += 1
        elif not has_answer(request):
            found.without_answers += 1
        else:
            number += 1
            size = sum(size_of(row.input) for row in request.rows)
            heapq.heappush(kept, (request.at, number, size, request))
            held += size
            while len(kept) > most or held > most_held_bytes:
                found.is_cut = found.is_cut or len(kept) <= most
                held -= heapq.heappop(kept)[2]
    found.is_cut = found.is_cut or counts.bytes > most_bytes
    found.requests = [entry[3] for entry in sorted(kept, key=lambda entry: entry[:2], reverse=True)]
    return found


def size_of(value: JsonValue) -> int:
    """Return about how many bytes an input takes."""
    return sum(len(each) if isinstance(each, str) else 16 for each in _parts(value))


def is_whole(value: JsonValue) -> bool:
    """Tell whether an instance is as it came: nothing in it was hashed or dropped, as far as that can be seen."""
    return not any(each is None or isinstance(each, _Hashed) for each in _parts(value))


class _Hashed:
    """Stands for a text that was hashed."""


def _parts(value: JsonValue) -> Iterator[Any]:
    """Yield the values in an input, however they are nested."""
    waiting, number = [value], 0
    while waiting and number < _MOST_PARTS:
        each, number = waiting.pop(), number + 1
        if isinstance(each, dict):
            if set(each) == {"sha256"}:
                yield _Hashed()
            else:
                waiting += each.values()
        elif isinstance(each, list):
            waiting += each
        else:
            yield each


def _from_the_latest_day(
    store: Any, period: tuple[date, date], counts: ReadingCounts, most_bytes: int, *, enough: Callable[[], bool]
) -> Iterator[CapturedRequest]:
    for day in reversed(days(store / CAPTURED)):
        if period[0] <= day <= period[1]:
            yield from read(store, first=day, last=day, counts=counts, most_bytes=most_bytes)
            if enough():
                return
