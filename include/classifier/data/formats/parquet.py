"""Reads Parquet files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from include.classifier.data.bounds import most_bytes, pieces, unbounded
from include.classifier.data.formats.batches import Batch, table_batches
from include.classifier.data.formats.headers import has_columns
from include.classifier.data.formats.lines import CHUNK_BYTES
from include.classifier.data.problems import Problems
from include.classifier.data.sources import Source
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a table that are looked at in one go.
_BATCH_ROWS = 16_384


def read_parquet(
    file: IO[bytes], source: Source, data: DataConfig, problems: Problems, constants: Mapping[str, Any] | None = None
) -> Iterator[Batch]:
    """Read a file.

    :param problems: gathers what is wrong with it.
    :param constants: columns that it lacks, each with the one value of all its rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # With a buffer, what is in memory does not depend on how large the file's row groups are.
        table = parquet.ParquetFile(file, buffer_size=CHUNK_BYTES)
        schema = table.schema_arrow
        lacked = {name: value for name, value in (constants or {}).items() if name not in schema.names}
        if has_columns([*schema.names, *lacked], source, data, problems):
            there = [name for name in data.columns if name not in lacked]
            texts = [name for name in data.text_columns if name in there]
            if strings := [name for name in texts if pa.types.is_string(schema.field(name).type)]:
                # Each text once: a file of two kilobytes can say one of them a million times.
                table = parquet.ParquetFile(
                    file, metadata=table.metadata, buffer_size=CHUNK_BYTES, read_dictionary=strings
                )
            batches = table.iter_batches(batch_size=_BATCH_ROWS, columns=there)
            bounded = _bounded(batches, file.seek(0, io.SEEK_END), source, texts)
            yield from table_batches((_filled(piece, lacked) for piece in bounded), data)
    except pa.ArrowException as error:
        what, remedy = "is not a Parquet file that can be read", "Write it again, or check its ending."
        if "UTF8" in str(error):
            what, remedy = "has strings that are not UTF-8", "Write it again as UTF-8, or the column as bytes."
        problems.add(source.name, what, remedy)


def _bounded(
    batches: Iterable[pa.RecordBatch], packed_bytes: int, source: Source, texts: list[str]
) -> Iterator[pa.RecordBatch]:
    """Yield a table in pieces, until more has come of it than could be data."""
    left = most_bytes(packed_bytes)
    for batch in batches:
        for piece in pieces(batch, texts):
            left -= piece.nbytes
            if left < 0:
                raise unbounded(source.name)
            yield piece


def _filled(piece: pa.RecordBatch, lacked: Mapping[str, Any]) -> pa.RecordBatch:
    import pyarrow as pa

    for name, value in lacked.items():
        piece = piece.append_column(name, pa.repeat(value, len(piece)))
    return piece
