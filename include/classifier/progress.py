"""Tells people how far a step is."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

#: Names a file that holds the step's latest line; the local pipeline runner sets it and shows the line in Airflow.
PROGRESS_FILE = "PROGRESS_FILE"

#: What a terminal takes for colours.
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def report(line: str) -> None:
    """Print a line and keep it as the step's latest word."""
    print(line, flush=True)
    if path := os.environ.get(PROGRESS_FILE):
        # The line is a courtesy: a full disk must not end a training that needs none.
        with suppress(OSError):
            _replace(Path(path), line)


def _replace(path: Path, line: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(f"{line}\n", encoding="utf-8")
    temporary.replace(path)


def first_line(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says, without the colours that PyTorch paints its own in."""
    said = _COLOURS.sub("", str(error)).strip()
    return f"{type(error).__name__}: {said.splitlines()[0] if said else 'no message'}"


def duration(seconds: float) -> str:
    """Return a duration for people: ``0:42``, ``12:03`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
