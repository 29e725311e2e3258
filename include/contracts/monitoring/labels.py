"""Labels that arrive after a request was answered: the one form of their lines, how they are written and read.

``<store>/<model>/labels/<YYYY-MM-DD>/<time>-<random>.jsonl``, by the day (UTC) on which they arrived.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from include.contracts.documents import Count, Part
from include.contracts.monitoring.captured import CapturedRequest, CapturedRow, ReadingCounts, read
from include.contracts.monitoring.layout import ID, LABELS, days, files

#: How ``dataset.json`` calls the training rows that were captured requests.
LABELLED_REQUESTS = "labelled requests"

#: Of one line; a longer one is none of ours.
_MOST_LINE_BYTES = 10_000

#: A longer label is none.
MOST_LABEL_CHARACTERS = 200


class ArrivedLabel(Part):
    """What a row of a request really was."""

    _shown = ("id", "row")

    schema_version: Literal[1] = 1
    id: Annotated[str, Field(pattern=ID)]
    row: Count = Field(0, description="Of the request, from 0")
    label: str = Field(min_length=1, max_length=MOST_LABEL_CHARACTERS, description="The name that the endpoint answers")
    at: str = Field(max_length=40, description="When it arrived: ISO 8601, UTC")
    origin: str = Field(max_length=200, description="Where it came from, for example the name of a file")


def read_labels(store: Any) -> tuple[dict[tuple[str, int], ArrivedLabel], int]:
    """Return request and row -> label, of several the one that arrived last; and how many lines are none.

    :param store: the model's folder in the store, see :func:`include.contracts.monitoring.layout.days`.
    """
    found: dict[tuple[str, int], ArrivedLabel] = {}
    broken = 0
    folder = store / LABELS
    for day in days(folder):
        for path in files(folder, day):
            for line in _lines(path):
                try:
                    label = ArrivedLabel.model_validate(json.loads(line))
                except (ValidationError, ValueError, RecursionError):
                    broken += 1
                    continue
                before = found.get((label.id, label.row))
                if before is None or before.at <= label.at:
                    found[label.id, label.row] = label
    return found, broken


@dataclass(frozen=True, slots=True)
class Labelled:
    """A row of a captured request whose label has arrived."""

    request: CapturedRequest
    row: CapturedRow
    label: ArrivedLabel

    @property
    def is_right(self) -> bool:
        """Whether the model has answered so."""
        return label_of(self.row.output) == self.label.label


@dataclass(frozen=True, slots=True)
class Joined:
    """Labels and what was answered.

    :param rows: each label with its row.
    :param unmatched: labels whose request is not there, or is there more than once.
    """

    rows: list[Labelled]
    unmatched: int


def join(store: Any, *, first: datetime, last: datetime, counts: ReadingCounts) -> Joined:
    """Join the labels that have arrived with the requests that were answered between two moments.

    An id that two requests have says nothing: whose label it is cannot be known.
    """
    labels, _ = read_labels(store)
    ids = {request_id for request_id, _ in labels}
    requests: dict[str, CapturedRequest] = {}
    seen: Counter[str] = Counter()
    for request in answered(store, first=first, last=last, counts=counts) if ids else ():
        if request.id in ids:
            seen[request.id] += 1
            requests[request.id] = request
    rows = [
        Labelled(requests[request_id], requests[request_id].rows[row], label)
        for (request_id, row), label in sorted(labels.items())
        if seen[request_id] == 1 and row < len(requests[request_id].rows)
    ]
    return Joined(rows, len(labels) - len(rows))


def answered(store: Any, *, first: datetime, last: datetime, counts: ReadingCounts) -> Iterator[CapturedRequest]:
    """Yield the requests that were answered well between two moments, the second not included."""
    for request in read(store, first=first.date(), last=last.date(), counts=counts):
        if first <= request.answered_at < last and request.status < 300 and request.rows:
            yield request


def label_of(output: Any) -> str | None:
    """Return the label that was answered, ``None`` where the answer is a number or has none.

    Whole numbers are classes.
    """
    if isinstance(output, bool | int) or (isinstance(output, str) and len(output) <= MOST_LABEL_CHARACTERS):
        return str(output)
    return None


def _lines(path: Any) -> Iterator[bytes]:
    """Yield the lines of a file; one that is too long is cut, and so is no JSON."""
    with path.open("rb") as file:
        while line := file.readline(_MOST_LINE_BYTES):
            yield line
