"""Writes models for the tests, in the environment of KServe's server: one order a line, in JSON.

``version``: a classifier that answers every row with the name of its version; ``line``: 2 x + 1; ``marker``: a pickle
that leaves a file behind when it is read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


class Marker:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(self.path),))


def model_of(order: dict[str, str]) -> Any:
    """Return the object to write."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LinearRegression

    if order["kind"] == "marker":
        return Marker(order["marker"])
    if order["kind"] == "line":
        return LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    version = order["version"]
    return DummyClassifier(strategy="constant", constant=version).fit([[0], [1]], [version, "other"])


def write(order: dict[str, str]) -> None:
    """Write one model."""
    import joblib
    import skops.io

    path = Path(order["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    (skops.io.dump if path.suffix == ".skops" else joblib.dump)(model_of(order), path)


if __name__ == "__main__":
    for line in sys.stdin:
        write(json.loads(line))
        sys.stdout.write("written\n")
        sys.stdout.flush()
