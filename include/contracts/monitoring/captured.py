"""Captured requests: the one form of their lines, where their files lie, and how they are read.

``<store>/<model>/captured/<YYYY-MM-DD>/<producer>-<n>.jsonl``, by the day (UTC) on which a request was answered. A file
appears whole: it is written under a hidden name, which readers do not look at, and renamed when it is closed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from include.contracts.documents import Count, NotNegative, Part, Version
from include.contracts.monitoring.layout import CAPTURED, ID, days, files

Protocol = Literal["v1", "v2", "raw"]

#: Of one line; a longer one is none of ours.
MOST_LINE_BYTES = 8_000_000


class CapturedRow(Part):
    """One row of a request, with what was answered to it."""

    input: JsonValue = Field(
        description='A text, or the row as it came; `{"sha256": …}` of a text that was hashed, null of one that was '
        "dropped. In a row of columns this goes for each text in it."
    )
    features: dict[str, float | int | str] = Field(description="See include/contracts/monitoring/features.py")
    output: JsonValue = Field(None, description="The label, or the prediction as it was answered")
    confidence: float | None = Field(None, description="Probability of the label")
    probabilities: dict[str, float] | None = Field(None, description="By label, where the answer has them")


class CapturedRequest(Part):
    """One request that was answered."""

    _shown = ("id", "at", "model", "version")

    schema_version: Literal[1]
    id: Annotated[str, Field(pattern=ID)]
    at: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$")] = Field(
        description="When it was answered: ISO 8601, UTC"
    )
    model: str
    version: Version | None = Field(description="That has answered; none where nobody says which")
    protocol: Protocol
    status: Count
    latency_ms: NotNegative | None = Field(description="From the request to its answer, as its producer saw it")
    rows: list[CapturedRow] = Field(description="Empty where the body is in a form that cannot be taken apart")

    @property
    def answered_at(self) -> datetime:
        """When it was answered."""
        return datetime.fromisoformat(self.at)


@dataclass(slots=True)
class ReadingCounts:
    """What a reader came across.

    :param files: that were read.
    :param bytes: that were read.
    :param requests: that were read.
    :param broken_lines: that are no captured request, and were left out.
    :param broken_files: that could not be read at all, or not to their end.
    :param problems: of the first few, where and why; without anything that stands there.
    """

    files: int = 0
    bytes: int = 0
    requests: int = 0
    broken_lines: int = 0
    broken_files: int = 0
    problems: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Remember a problem, if it is among the first."""
        if len(self.problems) < 10:
            self.problems.append(problem)


def parse(line: str | bytes) -> CapturedRequest:
    """Return what a line says.

    :raises ValueError: when it is no captured request; the message has nothing of what stands there.
    """
    try:
        return CapturedRequest.model_validate(json.loads(line))
    except ValidationError as error:
        places = sorted({".".join(map(str, item["loc"][:3])) or "line" for item in error.errors(include_input=False)})
        raise ValueError(f"wrong at {', '.join(places[:3])}") from None
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None


def read(
    store: Any,
    *,
    first: date | None = None,
    last: date | None = None,
    counts: ReadingCounts | None = None,
    most_bytes: float = math.inf,
) -> Iterator[CapturedRequest]:
    """Yield the captured requests of a model, day by day; within a day in no order that means anything.

    What is unfinished is not looked at; what is broken is left out and counted.

    :param store: the model's folder in the store, see :func:`days`.
    :param first: earliest day (UTC), itself included; none: all.
    :param last: latest day, itself included.
    :param counts: gets what was come across.
    :param most_bytes: nothing more is read once ``counts`` has more.
    """
    counts = counts if counts is not None else ReadingCounts()
    folder = store / CAPTURED
    for day in days(folder):
        if (first is None or day >= first) and (last is None or day <= last):
            for path in files(folder, day):
                if counts.bytes > most_bytes:
                    return
                yield from _read_file(path, counts, most_bytes)


def _read_file(path: Any, counts: ReadingCounts, most_bytes: float) -> Iterator[CapturedRequest]:
    counts.files += 1
    number = 0
    try:
        with path.open("rb") as file:
            while counts.bytes <= most_bytes and (line := file.readline(MOST_LINE_BYTES + 1)):
                number += 1
                counts.bytes += len(line)
                if len(line) > MOST_LINE_BYTES:
                    raise ValueError("a line is too long")
                try:
                    found = parse(line)
                except ValueError as error:
                    counts.broken_lines += 1
                    counts.note(f"{path}, line {number}: {error}")
                    continue
                counts.requests += 1
                yield found
    except (OSError, ValueError) as error:
        counts.broken_files += 1
        counts.note(f"{path}, after line {number}: {error if isinstance(error, ValueError) else type(error).__name__}")
