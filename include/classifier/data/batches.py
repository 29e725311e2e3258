"""Some rows of a source, as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Batch(NamedTuple):
    """Rows as they stand in a source, one after the other; values are whatever the format gave."""

    numbers: np.ndarray  #: Line or row index of each row, int64, shape (rows,).
    texts: pa.Array | list[Any]
    labels: pa.Array | list[Any]
