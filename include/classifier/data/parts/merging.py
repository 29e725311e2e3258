"""Puts the parts together: the same rows in the same order as if one process had read all sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from include.classifier.data.checks import Checked
from include.classifier.data.moving.row_dates import RowDates
from include.classifier.data.parts.documents import PartsPlan, WrittenPart
from include.classifier.data.parts.store import PartsFolder
from include.classifier.data.parts.writing import LABELS, ROWS, SURROGATES
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.row_store import slice_column
from include.classifier.data.rows import Findings, Rows, gathered_rows
from include.classifier.data.slice_columns import SliceColumns
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def merged_rows(
    plan: PartsPlan,
    sources: Sequence[Source],
    data: DataConfig,
    problems: Problems,
    folder: PartsFolder,
    dates: RowDates | None = None,
) -> Iterator[Rows]:
    """Yield the rows of all parts, as :func:`~include.classifier.data.rows.read_rows` does.

    :param sources: all of them.
    :param problems: gathers what the parts have found wrong.
    :param dates: gets the counts of rows that were left out.
    :raises DataError: when a part is not there.
    """
    parts = [folder.part(number, plan) for number in range(len(plan.ends))]
    if missing := [number for number, part in enumerate(parts) if part is None]:
        raise DataError(
            f"{folder.uri}: {len(missing):,} of {len(parts):,} parts are not there (the first is {missing[0]}). Start "
            "preprocessing again."
        )

    def gather(rows: Rows, found: Findings) -> None:
        for number, part in enumerate(parts):
            if part is not None:
                _replay(number, part, rows, found, data, folder)
                if dates and part.left_out:
                    dates.add(**part.left_out)

    with gathered_rows(sources, data, problems, gather) as rows:
        yield rows


def _replay(number: int, part: WrittenPart, rows: Rows, found: Findings, data: DataConfig, folder: PartsFolder) -> None:
    import pyarrow as pa

    begin = len(rows.store)
    slices = [slice_column(name) for name in SliceColumns(data).names]
    with folder.get(number, ROWS, part.rows_sha256) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            _take(batch, rows, slices)
    for count in part.rows:
        begin += count
        rows.ends.append(begin)
    with folder.get(number, LABELS, part.labels_sha256) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            labels = [label.decode(errors=SURROGATES) for label in batch.column("label").to_pylist()]
            found.unknown_labels.add(zip(labels, batch.column("rows").to_pylist(), strict=True))
    found.in_files.extend(Problems.of_document(part.in_files))
    found.in_rows.extend(Problems.of_document(part.in_rows))
    found.personal_data.add(part.personal_data)
    found.label_types |= set(part.label_types)
    for split, (lengths, classes) in part.first.items():
        found.first[split].extend(lengths, classes)


def _take(batch: pa.RecordBatch, rows: Rows, slices: Sequence[str]) -> None:
    import numpy as np

    reasons = batch.column("reason").to_numpy()
    hashes = b"".join(batch.column("hash").drop_null().to_pylist())
    rows.texts.add_hashes(hashes, len(rows.store) + np.flatnonzero(reasons == 0))
    masks = [batch.column(name).to_numpy(zero_copy_only=False) for name in slices]
    rows.store.append(
        Checked(batch.column("text"), batch.column("class").to_numpy(), reasons),
        batch.column("number").to_numpy(),
        np.column_stack(masks) if masks else None,
    )
