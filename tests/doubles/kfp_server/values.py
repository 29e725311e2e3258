"""How the server writes values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def timestamp(seconds: float) -> str:
    """Return a time as the server writes it: whole seconds; what has not happened yet is 1970."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).isoformat().replace("+00:00", "Z")


def without_zero_values(document: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the server leaves out: empty text, zero, empty lists and objects."""
    return {name: value for name, value in document.items() if value not in ("", 0, None, [], {})}
