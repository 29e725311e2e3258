"""The rows of all sources, on disk: in memory only two small numbers for each, its class and its fate."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from tempfile import TemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Self

from include.classifier.data.checks import Checked

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def slice_column(name: str) -> str:
    """Return the column that says which rows are in a slice."""
    return f"slice {name}"


class RowStore:
    """Takes rows in their order and gives them back in it; a context manager that ends with :meth:`close`.

    The text of each row goes to a compressed Arrow file, its number in the source to another. Both are files without a
    name in the folder for temporary files: whatever ends the process, no text stays behind. In memory remain, for each
    row, one byte for the reason to drop it and one for its class (two with more than 128 classes).

    :param class_count: how many classes there are.
    :param slices: names of the slices by a column.
    """

    def __init__(self, *, class_count: int, slices: Sequence[str] = ()) -> None:
        import numpy as np
        import pyarrow as pa

        self._class_type = np.min_scalar_type(-max(class_count, 1))
        self._begins = [0]
        # They grow in place: ten thousands of small arrays would leave the memory full of holes.
        self._classes, self._reasons = bytearray(), bytearray()
        self._open = ExitStack()
        files = (TemporaryFile() for _ in range(2))  # noqa: SIM115 - closed with the store
        self._texts, self._numbers = map(self._open.enter_context, files)
        self._slices = [slice_column(name) for name in slices]
        schema = pa.schema([("text", pa.string()), *((name, pa.bool_()) for name in self._slices)])
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = self._open.enter_context(pa.ipc.new_file(self._texts, schema, options=options))
        self.classes: np.ndarray  #: Class of each row, -1: unknown; there after :meth:`seal`, as are the reasons.
        self.reasons: np.ndarray  #: As in :class:`Checked`; whoever drops a row writes here.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._begins[-1]

    def append(self, rows: Checked, numbers: np.ndarray, slices: np.ndarray | None = None) -> None:
        """Take some rows.

        :param numbers: int64, the line or index of each in its source.
        :param slices: which rows are in each slice, bool, shape (rows, slices); none where there are no slices.
        """
        import pyarrow as pa

        columns = {"text": rows.texts}
        if slices is not None:
            columns |= {name: pa.array(slices[:, index]) for index, name in enumerate(self._slices)}
        self._writer.write_batch(pa.record_batch(columns))
        self._numbers.write(numbers.tobytes())
        self._classes += rows.classes.astype(self._class_type).tobytes()
        self._reasons += rows.reasons.tobytes()
        self._begins.append(len(self) + len(numbers))

    def seal(self) -> None:
        """Take no more rows, and be ready to give them back."""
        import numpy as np

        self._writer.close()
        self.classes = np.frombuffer(self._classes, self._class_type)
        self.reasons = np.frombuffer(self._reasons, np.int8)

    def number(self, position: int) -> int:
        """Return the line or index in its source of the row at a position, counted over all sources."""
        self._numbers.seek(8 * position)
        return int.from_bytes(self._numbers.read(8), sys.byteorder, signed=True)

    def batches(self, marks: np.ndarray, mark: int) -> Iterator[pa.RecordBatch]:
        """Yield texts and classes of the rows with a mark, in their order, as columns ``text`` and ``label``.

        Behind them stands a column for each slice.

        :param marks: of all rows, shape (rows,).
        """
        import numpy as np
        import pyarrow as pa

        with pa.ipc.open_file(self._texts) as reader:
            for index, (begin, end) in enumerate(pairwise(self._begins)):
                wanted = marks[begin:end] == mark
                if wanted.any():
                    rows = reader.get_batch(index).filter(pa.array(wanted))
                    classes = self.classes[begin:end][wanted].astype(np.int64)
                    slices = {name: rows.column(name) for name in self._slices}
                    yield pa.record_batch({"text": rows.column("text"), "label": classes} | slices)

    def close(self) -> None:
        """Close its files."""
        self._open.close()
