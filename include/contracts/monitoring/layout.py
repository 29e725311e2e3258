"""Where captured requests and labels lie in a model's folder of the store, and what may stand in their files' lines.

Without a package of anybody's, because the process that writes them has none (:mod:`include.capture.writing`).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

#: Below a model's folder of the store: its captured requests, and labels that came later.
CAPTURED, LABELS = "captured", "labels"

#: Beside the models' folders in the store. While a file of this name is there, nothing is captured of any model.
OFF = "CAPTURE_OFF"

SUFFIX = ".jsonl"

#: The id of a request: of a client's, what may stand in a file, a log and a command.
ID = r"^[A-Za-z0-9][A-Za-z0-9_.:=+/@-]{0,127}$"

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_id(text: str) -> bool:
    """Tell whether a text can be a request's id."""
    return re.fullmatch(ID, text) is not None


def written_at(moment: datetime) -> str:
    """Return a moment as captured requests have it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def days(folder: Any) -> list[date]:
    """Return the days of which there are files, earliest first.

    :param folder: ``captured`` or ``labels`` of a model: a :class:`pathlib.Path`, or what behaves like one, such as
        Airflow's ``ObjectStoragePath``.
    """
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(day for name in names if (day := _day(name)))


def files(folder: Any, day: date) -> list[Any]:
    """Return the finished files of one day, in the order of their names."""
    try:
        found = list((folder / day.isoformat()).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(
        (path for path in found if path.name.endswith(SUFFIX) and not path.name.startswith(".")),
        key=lambda path: str(path.name),
    )


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name) if _DAY.fullmatch(name) else None
    except ValueError:
        return None
