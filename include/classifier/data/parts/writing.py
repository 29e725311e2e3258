"""Reads the sources of one part, and writes what whoever puts the parts together needs of their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from include.classifier.data.checks import Checked, UnknownLabels
from include.classifier.data.formats.batches import Batch
from include.classifier.data.moving.row_dates import RowDates
from include.classifier.data.parts.documents import PartsPlan, WrittenPart
from include.classifier.data.parts.store import PartsFolder
from include.classifier.data.problems import Problems
from include.classifier.data.repeated import text_hashes
from include.classifier.data.row_store import slice_column
from include.classifier.data.rows import Findings, read_sources
from include.classifier.data.slice_columns import SliceColumns
from include.classifier.data.sources import Source
from include.contracts.kinds.labels import label_text
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, LABELS = "rows", "labels"
#: JSON can write half of a surrogate pair, which is no Unicode but may stand in a label column.
SURROGATES = "surrogatepass"


def write_part(
    number: int,
    plan: PartsPlan,
    sources: Sequence[Source],
    data: DataConfig,
    folder: PartsFolder,
    dates: RowDates | None,
) -> WrittenPart:
    """Read the sources of a part and write their rows, and last the document that vouches for them.

    :param number: of the part, from 0.
    :param sources: those of the part.
    :param dates: leaves out training rows of other days.
    :raises SourceUnavailableError: when a store or server does not hand out a file.
    """
    with PartRows(SliceColumns(data).names) as rows, _LabelFile() as labels:
        found = Findings(data, (source.split for source in sources), Problems())
        found.unknown_labels = labels
        read_sources(sources, data, rows, found, dates)
        part = WrittenPart(
            plan_id=plan.id,
            rows=rows.counts,
            rows_sha256=folder.put(number, ROWS, rows.finished()),
            labels_sha256=folder.put(number, LABELS, labels.finished()),
            in_files=found.in_files.as_document(),
            in_rows=found.in_rows.as_document(),
            first={split: (first.lengths, first.classes) for split, first in found.first.items()},
            personal_data={
                split: {str(kind): count for kind, count in counts.items()}
                for split, counts in found.personal_data.rows.items()
            },
            label_types=sorted(found.label_types),
            left_out=dates.counts() if dates else {},
        )
    folder.write_part(number, part)
    return part


def rows_schema(slices: Iterable[str]) -> pa.Schema:
    """Return the columns of a part's rows.

    :param slices: names of the slices by a column.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("text", pa.string()),  # cleaned; empty where the row is dropped already
            ("class", pa.int64()),
            ("reason", pa.int8()),
            ("number", pa.int64()),  # line or index in the source
            ("hash", pa.binary(16)),  # of the text, null where the row is dropped already
            *((slice_column(name), pa.bool_()) for name in slices),
        ]
    )


def labels_schema() -> pa.Schema:
    """Return the columns of labels that the model does not know: a few after the other, as they were counted."""
    import pyarrow as pa

    return pa.schema([("label", pa.binary()), ("rows", pa.int64())])


class _ArrowFile:
    """An Arrow file without a name; a context manager."""

    def __init__(self, schema: pa.Schema) -> None:
        import pyarrow as pa

        self._open = ExitStack()
        self._file = self._open.enter_context(TemporaryFile())  # noqa: SIM115 - closed with the context
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(self._file, schema, options=options)
        self._schema = schema

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def write(self, columns: Sequence[Any]) -> None:
        import pyarrow as pa

        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def finished(self) -> Any:
        """Return the file; nothing more is written."""
        self._writer.close()
        return self._file


class PartRows(_ArrowFile):
    """Takes rows as :class:`~include.classifier.data.rows.Rows` does, for another process.

    :param slices: names of the slices by a column.
    """

    def __init__(self, slices: Sequence[str]) -> None:
        super().__init__(rows_schema(slices))
        self._slices = slices
        self.counts: list[int] = []  #: Rows of each source.
        self._rows = 0

    def take(self, checked: Checked, batch: Batch) -> None:
        """Take the next rows of a source."""
        import numpy as np
        import pyarrow as pa
        from pyarrow import compute

        kept = pa.array(checked.reasons == 0)
        hashes = iter(_sixteens(text_hashes(checked.texts.filter(kept))))
        slices = (
            [] if batch.slices is None else [pa.array(batch.slices[:, index]) for index in range(len(self._slices))]
        )
        self.write(
            [
                compute.if_else(kept, checked.texts, ""),  # nobody asks for the others any more
                pa.array(checked.classes.astype(np.int64)),
                pa.array(checked.reasons),
                pa.array(batch.numbers),
                pa.array([next(hashes) if is_kept else None for is_kept in kept.to_pylist()], pa.binary(16)),
                *slices,
            ]
        )
        self._rows += len(checked.reasons)

    def end_source(self) -> None:
        """Take no more of it."""
        self.counts.append(self._rows - sum(self.counts))


class _LabelFile(UnknownLabels, _ArrowFile):
    """Writes all of them down: which of them are counted is known only when those of the parts before are."""

    def __init__(self) -> None:
        _ArrowFile.__init__(self, labels_schema())

    def add(self, found: Iterable[tuple[Any, int]]) -> None:
        """Take values and their rows."""
        counted = [(self._shown(label_text(value)), count) for value, count in found if value is not None]
        labels, rows = [label for label, _ in counted], [count for _, count in counted]
        if counted:
            self.write([labels, rows])

    def _shown(self, text: str) -> bytes:
        """Return a label, or what stands for one that is too long to be shown: it may be a text."""
        content = text.encode(errors=SURROGATES)
        return content if len(text) <= self.LONGEST else hashlib.sha256(content).hexdigest().encode()


def _sixteens(content: bytes) -> Iterable[bytes]:
    return (content[begin : begin + 16] for begin in range(0, len(content), 16))
