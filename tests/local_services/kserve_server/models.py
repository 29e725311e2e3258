"""Writes models for the tests, in the environment of KServe's server: one order a line, ``{"path": ..., ...}``.

The estimator answers every row with the name of its version. The ONNX model, which is written by hand, adds one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

MAGIC = "the weights do not fit the model"


class Broken:
    """A pickle that raises when it is read."""

    def __reduce__(self) -> Any:
        return (int, (MAGIC,))


class Marker:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(self.path),))


def write(order: dict[str, Any]) -> None:
    """Write one model."""
    import joblib
    import skops.io
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LinearRegression

    path, kind = Path(order["path"]), order["kind"]
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "broken":
        path.write_bytes(MAGIC.encode())
    elif kind == "marker":
        joblib.dump(Marker(order["marker"]), path)
    elif kind == "line":
        (skops.io.dump if path.suffix == ".skops" else joblib.dump)(LinearRegression().fit([[0], [1]], [1, 3]), path)
    else:
        version = order["version"]
        model = DummyClassifier(strategy="constant", constant=version).fit([[0], [1]], [version, "other"])
        skops.io.dump(model, path)


if __name__ == "__main__":
    for line in sys.stdin:
        write(json.loads(line))
        sys.stdout.write("done\n")
        sys.stdout.flush()
