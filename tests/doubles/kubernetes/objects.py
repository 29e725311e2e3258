"""Objects of a cluster are JSON: that makes them quick to copy."""

from __future__ import annotations

import marshal
from typing import TypeVar

T = TypeVar("T")


def copied(entry: T) -> T:
    """Return a deep copy of what is made of JSON's types, in a tenth of the time that :func:`copy.deepcopy` takes.

    The controllers of a double copy all day long.
    """
    copy: T = marshal.loads(marshal.dumps(entry))
    return copy
