"""Reads tables of Delta Lake: the package deltalake tells which Parquet files hold the rows of a version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from include.classifier.data.bounds import check_plain
from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.parquet import read_parquet
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import DELTA, Source, explained
from include.contracts.settings import DataConfig

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG = "_delta_log"
#: What the log of a table may hold; Delta puts older entries together by itself.
_MOST_LOG_FILES, _MOST_LOG_BYTES = 20_000, 512 << 20
#: What a table may ask of whoever reads it, beside what all of them are.
_KNOWN_FEATURES = {"timestampNtz", "vacuumProtocolCheck", "v2Checkpoint", "deletionVectors"}
_PARTITION = "partition."


def pinned(source: Source) -> Source:
    """Return the version of a table that is the newest one now.

    :raises DataError: when the table cannot be read.
    """
    with _opened(source) as table:
        return replace(source, found=DELTA, version=table.version())


def read_delta(source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    """Read the rows of the version that was pinned; what was deleted or written since is none of them.

    :param problems: gathers what is wrong with the files.
    :raises DataError: when the table asks for more than is known here, or names files that are not in it.
    """
    with _opened(source) as table:
        _check_features(table, source)
        files = _files(table, source)
    filesystem, folder = source.filesystem()
    begin = 0
    for path, constants in files:
        end = begin
        address = f"{folder}/{path}"
        part = source.part(address if source.is_local else filesystem.unstrip_protocol(address))
        with part.open() as file:
            for batch in read_parquet(file, replace(part, found="parquet"), data, problems, constants):
                yield batch._replace(numbers=batch.numbers + begin)
                end += len(batch.numbers)
        begin = end


@contextmanager
def _opened(source: Source) -> Iterator[DeltaTable]:
    """Open a table by a copy of its log: the package knows nothing of what a form may read, nor of our stores."""
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise DataError(
            f"{source.name}: is a Delta table, and the package deltalake, which reads its log, is not there. Install "
            "it where preprocessing runs (pip install deltalake), or export the table as Parquet."
        ) from None
    with TemporaryDirectory(prefix="source-") as copy:
        _copy_log(source, f"{copy}/{LOG}")
        try:
            yield DeltaTable(copy, version=source.version)
        except DeltaError as error:  # whose words may be the log's
            raise DataError(
                f"{source.name}: is not a Delta table that can be read ({type(error).__name__}). Export it as Parquet."
            ) from None


def _copy_log(source: Source, target: str) -> None:
    filesystem, folder = source.filesystem()
    try:
        found = filesystem.find(f"{folder}/{LOG}", detail=True)
        if len(found) > _MOST_LOG_FILES or sum(each["size"] for each in found.values()) > _MOST_LOG_BYTES:
            raise DataError(
                f"{source.name}: its log has more than {_MOST_LOG_FILES:,} files or {_MOST_LOG_BYTES >> 20} MB. Write "
                "a checkpoint and clean the log up, or export the table as Parquet."
            )
        for path in found:
            address = path if source.is_local else filesystem.unstrip_protocol(path)
            source.part(address).filesystem()  # a link leads no further than what a form may name
            if source.is_local:
                check_plain(path, source.name)
            copy = Path(target) / PurePosixPath(path).relative_to(f"{folder}/{LOG}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            filesystem.get_file(path, str(copy))
    except Exception as error:  # each kind of store has its own exceptions
        raise explained(source.name, error) from None


def _check_features(table: DeltaTable, source: Source) -> None:
    features = set(table.protocol().reader_features or [])
    unknown = sorted(features - _KNOWN_FEATURES)
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        unknown = sorted({*unknown, "columnMapping"})
    if "deletionVectors" in features and _has_deleted_rows(table):
        unknown.append("deletionVectors (REORG TABLE … APPLY (PURGE) writes the rows without them)")
    if unknown:
        raise DataError(f"{source.name}: uses {', '.join(unknown)}, which is not read. Export the table as Parquet.")


def _has_deleted_rows(table: DeltaTable) -> bool:
    from deltalake.exceptions import DeltaError

    try:
        return any(len(batch) for batch in table.deletion_vectors())
    except DeltaError:  # what they say stands in files beside the log
        return True


def _files(table: DeltaTable, source: Source) -> list[tuple[str, dict[str, Any]]]:
    """Return the path in the table of each file with rows, and the values of the columns that it lacks."""
    import pyarrow as pa

    # A column that came later is null in older files.
    later: dict[str, Any] = dict.fromkeys(field.name for field in table.schema().fields)
    found = []
    for action in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        path = PurePosixPath(unquote(action["path"]))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise DataError(f"{source.name}: names files outside of its folder. Copy the table with its files.")
        ours = {name.removeprefix(_PARTITION): each for name, each in action.items() if name.startswith(_PARTITION)}
        found.append((str(path), later | ours))
    return sorted(found, key=lambda each: each[0])
