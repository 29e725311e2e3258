"""The captured requests of a version: those of a window of time, and the first ones that it answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from include.contracts.monitoring.captured import CapturedRequest, CapturedRow, ReadingCounts
from include.contracts.monitoring.labels import answered, label_of
from include.monitoring.columns import CONFIDENCE, LABEL, Features, Row

#: Of one request; of more of them the first. A request counts once, however many it has.
MOST_ROWS_OF_A_REQUEST = 100
#: Of one window: bounds the memory. What is beyond is left out evenly.
MOST_REQUESTS = 50_000


@dataclass(slots=True)
class Window:
    """Captured requests that are compared.

    :param requests: how many they are.
    :param rows: of the inputs and the answers.
    :param last: when the last of them was answered.
    """

    requests: int = 0
    rows: list[Row] = field(default_factory=list)
    last: datetime | None = None

    def add(self, request: CapturedRequest) -> None:
        """Take a request."""
        rows = request.rows[:MOST_ROWS_OF_A_REQUEST]
        self.requests += 1
        self.rows += (Row(features_of_row(row), 1 / len(rows)) for row in rows)
        self.last = max(self.last or request.answered_at, request.answered_at)


def features_of_row(row: CapturedRow) -> Features:
    """Return the features of the input, and those of the answer beside them."""
    found: dict[str, float | int | str] = dict(row.features)
    if (label := label_of(row.output)) is not None:
        found[LABEL] = label
    elif _is_number(row.output):
        found["prediction"] = float(row.output)  # type: ignore[arg-type]
    if row.confidence is not None:
        found[CONFIDENCE] = row.confidence
    return found


def window_of(store: Any, version: str, *, first: datetime, last: datetime, counts: ReadingCounts) -> Window:
    """Return the requests that a version has answered between two moments."""
    window = Window()
    found = _of_version(store, version, first=first, last=last, counts=counts)
    for request in found[:: -(-len(found) // MOST_REQUESTS) or 1]:
        window.add(request)
    return window


def first_requests(
    store: Any, version: str, *, size: int, first: datetime, last: datetime, counts: ReadingCounts
) -> Window | None:
    """Return the first requests that a version has answered, ``None`` while there are fewer.

    :param first: since when it is live.
    """
    found = _of_version(store, version, first=first, last=last, counts=counts)
    if len(found) < size:
        return None
    window = Window()
    for request in found[:size]:
        window.add(request)
    return window


def _of_version(
    store: Any, version: str, *, first: datetime, last: datetime, counts: ReadingCounts
) -> list[CapturedRequest]:
    """Return them in the order of their times; where nobody says which version has answered, it was the live one."""
    found = answered(store, first=first, last=last, counts=counts)
    return sorted((each for each in found if each.version in (version, None)), key=_order)


def dump(window: Window) -> str:
    """Return the features of first requests as a file keeps them: no text stands there."""
    rows = [[row.features, row.weight] for row in window.rows]
    last = window.last.isoformat() if window.last else None
    return json.dumps({"schema_version": 1, "requests": window.requests, "last": last, "rows": rows})


def load(text: str) -> Window:
    """Read what :func:`dump` wrote."""
    document = json.loads(text)
    rows = [Row(features, float(weight)) for features, weight in document["rows"]]
    return Window(int(document["requests"]), rows, datetime.fromisoformat(document["last"]))


def _order(request: CapturedRequest) -> tuple[str, str]:
    return request.at, request.id


def _is_number(value: Any) -> bool:
    return isinstance(value, float)
