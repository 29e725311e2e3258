"""Finds texts that stand there twice, however many rows there are: by their hashes, which are sorted part by part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from include.classifier.data.checks import DUPLICATE, LEAKED, reason_code

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: A hash's first bits say which part it belongs to; one part at a time is in memory, 24 bytes for each of its texts.
_PART_BITS = 7
#: What a part keeps in memory before it goes to disk.
_SPOOL_BYTES = 1 << 16


class TextIndex:
    """Takes texts with their positions and tells which of them are the same; a context manager.

    Texts are compared by 128 bits of XXH3: among a billion, two different ones share a hash with a probability of
    about 1e-21.

    What does not stay in memory, 24 bytes for each text, is in files without a name in the folder for temporary files.
    """

    def __init__(self) -> None:
        import numpy as np

        self._hash = np.dtype([("high", "<u8"), ("low", "<u8")])
        self._entry = np.dtype([*self._hash.descr, ("position", "<i8")])
        self._open = ExitStack()
        self._parts = [
            self._open.enter_context(SpooledTemporaryFile(_SPOOL_BYTES))  # noqa: SIM115 - closed with all
            for _ in range(1 << _PART_BITS)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, texts: pa.Array, positions: np.ndarray) -> None:
        """Take texts.

        :param positions: int64, shape (texts,); higher than those of all texts before.
        """
        self.add_hashes(text_hashes(texts), positions)

    def add_hashes(self, content: bytes, positions: np.ndarray) -> None:
        """Take texts by their hashes.

        :param content: as :func:`text_hashes` returns it.
        :param positions: as for :meth:`add`.
        """
        import numpy as np

        hashes = np.frombuffer(content, self._hash)
        entries = np.empty(len(hashes), self._entry)
        entries["high"], entries["low"], entries["position"] = hashes["high"], hashes["low"], positions
        parts = (hashes["high"] >> np.uint64(64 - _PART_BITS)).astype(np.uint8)
        order = np.argsort(parts, kind="stable")
        borders = np.searchsorted(parts[order], np.arange(1, len(self._parts)))
        for part, own in zip(self._parts, np.split(entries[order], borders), strict=True):
            part.write(own.tobytes())

    def repeated(self) -> Iterator[Repeated]:
        """Yield the texts that stand there more than once, part by part."""
        import numpy as np

        for part in self._parts:
            part.seek(0)
            entries = np.frombuffer(part.read(), self._entry)
            # Most texts stand there once. Those that do not are found by sorting half of the hash, which is much
            # faster than sorting entries.
            high = np.sort(entries["high"])
            entries = entries[np.isin(entries["high"], high[1:][high[1:] == high[:-1]])]
            entries = entries[np.lexsort((entries["low"], entries["high"]))]
            hashes = entries[["high", "low"]]
            again = np.concatenate(([False], hashes[1:] == hashes[:-1]))
            yield Repeated(entries["position"], again)


def text_hashes(texts: pa.Array) -> bytes:
    """Return the hashes of texts by which they are compared, sixteen bytes each."""
    import pyarrow as pa
    from xxhash import xxh3_128_digest

    return b"".join(map(xxh3_128_digest, texts.cast(pa.binary()).to_pylist()))


class Repeated(NamedTuple):
    """Texts in an order in which the same ones stand side by side, by their positions."""

    positions: np.ndarray  #: int64, shape (texts,).
    again: np.ndarray  #: Whether the text is that of the position before, bool, shape (texts,).


def mark_repeated(
    index: TextIndex,
    classes: np.ndarray,
    reasons: np.ndarray,
    evaluation_begins: int,
    giving_way: slice = slice(0, 0),
) -> np.ndarray:
    """Mark rows whose cleaned text stood in the split before, and evaluation rows whose text is trained on.

    The label does not count: with one text under two labels in the data, a later split could tear them apart, and
    the model would be measured on what it has learned.

    :param index: the texts of the rows that are not dropped yet, by their positions.
    :param classes: of each row, shape (rows,).
    :param reasons: why rows are dropped, int8, shape (rows,); changed in place.
    :param evaluation_begins: position of the first evaluation row; all training rows stand before it.
    :param giving_way: training rows that are left out where their text is one of the evaluation rows, which stay.
    :return: the duplicates whose label is not that of the row that stays, bool, shape (rows,): somebody should look
        at these.
    """
    import numpy as np

    contradicting = np.zeros(len(classes), dtype=bool)
    for positions, again in index.repeated():
        positions, again = _without(positions, again, giving_way, evaluation_begins, reasons)
        in_evaluation = positions >= evaluation_begins
        same_split = np.concatenate(([True], in_evaluation[1:] == in_evaluation[:-1]))[: len(positions)]
        duplicate, leaked = again & same_split, again & ~same_split
        reasons[positions[duplicate]] = reason_code(DUPLICATE)
        reasons[positions[leaked]] = reason_code(LEAKED)
        # The first row with the text in the split is the last one, up to here, that is no duplicate.
        first = np.maximum.accumulate(np.where(duplicate, 0, np.arange(len(positions))))
        differs = duplicate & (classes[positions] != classes[positions[first]])
        contradicting[positions[differs]] = True
    return contradicting


def _without(
    positions: np.ndarray, again: np.ndarray, giving_way: slice, evaluation_begins: int, reasons: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mark the rows that give way to evaluation rows, and return the others as :class:`Repeated` has them."""
    import numpy as np

    gives = (positions >= giving_way.start) & (positions < giving_way.stop) if giving_way.stop else None
    if gives is None or not gives.any():
        return positions, again
    group = np.cumsum(~again)
    evaluated = np.zeros(int(group[-1]) + 1, dtype=bool)
    evaluated[group[positions >= evaluation_begins]] = True
    gives &= evaluated[group]
    reasons[positions[gives]] = reason_code(LEAKED)
    group = group[~gives]
    return positions[~gives], np.concatenate(([False], group[1:] == group[:-1]))[: len(group)]
