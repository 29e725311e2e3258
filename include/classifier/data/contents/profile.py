"""Counts what rows are like while they are written: lengths and scripts, of rows that lie evenly in a split."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from include.contracts.data.profile import LENGTHS, QUANTILES
from include.contracts.monitoring.features import features_of

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows that are looked at, at most; half of them at least where there are more.
MOST_ROWS = 20_000


class RowProfile:
    """The profile of a split whose number of rows is not known beforehand; the same rows give the same."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most = most_rows
        self._step, self._position = 1, 0
        self._found: list[tuple[int, str]] = []  # characters and script of each row that is looked at

    def add(self, rows: pa.Table) -> None:
        """Look at every row whose number is a multiple of the step, which doubles when there are too many.

        :param rows: column ``text``.
        """
        texts, begin = rows.column("text"), self._position
        self._position += len(rows)
        number = -(-begin // self._step) * self._step
        while number < self._position:
            features = features_of(texts[number - begin].as_py())
            self._found.append((int(features["characters"]), str(features["script"])[:40]))
            if len(self._found) > self._most:
                self._found = self._found[::2]
                self._step *= 2
            number = len(self._found) * self._step

    def document(self) -> dict[str, Any] | None:
        """Return :class:`include.contracts.data.profile.Profile`, ``None`` of no rows."""
        import numpy as np

        if not self._found:
            return None
        lengths = np.sort(np.array([length for length, _ in self._found], dtype=np.int64))
        shares = np.searchsorted(lengths, LENGTHS, side="right") / len(lengths)
        scripts = Counter(script for _, script in self._found)
        return {
            "rows": len(lengths),
            "quantiles": np.quantile(lengths, QUANTILES, method="inverted_cdf").tolist(),
            "up_to": [round(float(share), 6) for share in shares],
            "scripts": {script: round(count / len(lengths), 6) for script, count in sorted(scripts.items())},
        }
