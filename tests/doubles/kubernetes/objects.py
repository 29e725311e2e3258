"""Objects of a cluster are JSON: that makes them quick to copy.

The controllers of a double copy all day long; :func:`copy.deepcopy` takes ten times as long.
"""

from __future__ import annotations

import marshal
from typing import Any, TypeVar

T = TypeVar("T")


def frozen(entry: Any) -> bytes:
    """Return what :func:`thawed` makes copies from."""
    return marshal.dumps(entry)


def thawed(ice: bytes) -> Any:
    """Return another copy."""
    return marshal.loads(ice)


def copied(entry: T) -> T:
    """Return a deep copy of what is made of JSON's types."""
    copy: T = thawed(frozen(entry))
    return copy
