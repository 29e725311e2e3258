"""Labels that arrive after a request was answered: the one form of their lines, how they are written and read.

``<store>/<model>/labels/<YYYY-MM-DD>/<time>-<random>.jsonl``, by the day (UTC) on which they arrived.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from include.contracts.documents import Count, Part
from include.contracts.monitoring.capture import LABELS
from include.contracts.monitoring.captured import ID, days, files

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

    :param store: the model's folder in the store, see :func:`include.contracts.monitoring.captured.days`.
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


def _lines(path: Any) -> Iterator[bytes]:
    """Yield the lines of a file; one that is too long is cut, and so is no JSON."""
    with path.open("rb") as file:
        while line := file.readline(_MOST_LINE_BYTES):
            yield line
