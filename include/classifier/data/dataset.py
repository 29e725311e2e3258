"""The data set on disk: two Parquet files and ``dataset.json``, which is written last and so vouches for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from include.classifier.data.contents.profile import RowProfile
from include.classifier.data.problems import DataError
from include.classifier.data.row_store import slice_column
from include.classifier.data.sources import SplitName, as_uri, write_whole
from include.contracts.dataset import Dataset
from include.contracts.kinds.slices import SliceRule
from include.contracts.version.files import make_folder, new_file

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

DOCUMENT = "dataset.json"
#: A row group of the Parquet files has so many rows, or fewer where their texts would be longer than so many bytes.
GROUP_ROWS, GROUP_BYTES = 65_536, 16 << 20
_DIGEST_ROWS = 8192


class Split(NamedTuple):
    """Rows to train or to evaluate on."""

    texts: list[str]  #: Cleaned.
    labels: list[int]  #: Index into the data set's label names, one for each text.

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows as :func:`write_dataset` takes them."""
        import pyarrow as pa

        yield pa.record_batch(
            [pa.array(self.texts, pa.string()), pa.array(self.labels, pa.int64())], schema=pa.schema(_columns())
        )


def write_dataset(
    output_uri: str,
    *,
    model: str,
    label_names: Sequence[str],
    splits: Mapping[SplitName, Split | Iterable[pa.RecordBatch]],
    sources: Iterable[Mapping[str, Any]],
    rows_in: int,
    dropped: Mapping[str, Mapping[SplitName, int]],
    window: Mapping[str, Any] | None = None,
    slices: Sequence[SliceRule] = (),
    columns: Mapping[str, Sequence[str]] | None = None,
    personal_data: Mapping[Any, Any] | None = None,
) -> dict[str, Any]:
    """Write the Parquet files and then ``dataset.json``; the same rows give the same Parquet bytes and digests.

    :param output_uri: URI of the folder; what an earlier try left there is replaced.
    :param splits: rows of each split, in their order. Batches with columns ``text`` (cleaned) and ``label`` (index into
        the label names) are written as they come; for each slice by a column they have one more.
    :param sources: ``uri``, ``split`` and ``rows`` of each source.
    :param dropped: reason -> split -> rows.
    :param window: the days whose data was read, :class:`~include.contracts.dataset.DataWindow`.
    :param slices: of the evaluation rows; they go to whoever evaluates.
    :param columns: column that was read -> sorts of values that stand in it.
    :param personal_data: kind -> what became of it, :class:`~include.contracts.data.profile.PersonalDataFound`.
    :return: the document, :class:`~include.contracts.dataset.Dataset`.
    """
    from fsspec.core import url_to_fs

    output_uri = as_uri(output_uri)
    filesystem, folder = url_to_fs(output_uri)
    make_folder(filesystem, folder)
    if filesystem.exists(f"{folder}/{DOCUMENT}"):
        filesystem.rm_file(f"{folder}/{DOCUMENT}")  # or a broken-off second try would look finished
    by_column = [slice_column(rule.name) for rule in slices if rule.column is not None]
    facts: dict[str, dict[str, Any]] = {}
    for name, rows in splits.items():
        batches = rows.batches() if isinstance(rows, Split) else rows
        with new_file(filesystem, f"{folder}/{name}.parquet") as file:
            facts[name] = {"uri": f"{output_uri}/{name}.parquet"} | _write_rows(file, batches, label_names, by_column)
    document = {
        "schema_version": 1,
        "model": model,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": list(label_names),
        "splits": facts,
        "sources": [dict(source) for source in sources],
        "rows_in": rows_in,
        "rows_kept": sum(split["rows"] for split in facts.values()),
        "dropped": {reason: dict(counts) for reason, counts in dropped.items()},
        "sha256": dataset_digest({"splits": facts}),
    }
    document |= {"window": dict(window)} if window else {}
    document |= {"slices": [rule.model_dump(exclude_none=True) for rule in slices]} if slices else {}
    document |= {"columns": {name: list(sorts) for name, sorts in columns.items()}} if columns else {}
    document |= {"personal_data": dict(personal_data)} if personal_data else {}
    uri = f"{output_uri}/{DOCUMENT}"
    write_whole(uri, Dataset.dump(document, where=uri))
    return document


def _write_rows(
    file: IO[bytes], batches: Iterable[pa.RecordBatch], label_names: Sequence[str], slices: Sequence[str]
) -> dict[str, Any]:
    """Write a Parquet file and return the facts about its rows."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    content, in_slices, profile = RowDigest(label_names), SliceDigest(slices), RowProfile()
    counts, rows = np.zeros(len(label_names), dtype=np.int64), 0
    with parquet.ParquetWriter(file, pa.schema(_columns(slices)), compression="zstd") as writer:
        for group in row_groups(batches, slices):
            writer.write_table(group, row_group_size=len(group))
            content.add(group)
            in_slices.add(group)
            profile.add(group)
            counts += np.bincount(group.column("label"), minlength=len(counts))[: len(counts)]
            rows += len(group)
    return {
        "rows": rows,
        "label_counts": dict(zip(label_names, counts.tolist(), strict=True)),
        "sha256": content.hexdigest(),
        "profile": profile.document(),
    } | ({"slices_sha256": in_slices.hexdigest()} if slices else {})


def row_groups(batches: Iterable[pa.RecordBatch], slices: Sequence[str] = ()) -> Iterator[pa.Table]:
    """Yield the same rows in tables whose borders depend on the rows alone, and not on how they came.

    :param slices: columns that say which rows are in a slice.
    """
    import pyarrow as pa

    waiting = pa.schema(_columns(slices)).empty_table()
    for batch in batches:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])]).combine_chunks()
        while size := _whole_group(waiting):
            yield waiting.slice(0, size)
            waiting = waiting.slice(size)
    if len(waiting):
        yield waiting


def _whole_group(rows: pa.Table) -> int:
    """Return how many of the rows are the first group; 0 while rows that are still to come may belong to it."""
    import numpy as np
    from pyarrow import compute

    if not len(rows):
        return 0
    ends = np.cumsum(compute.binary_length(rows.column("text")).to_numpy(), dtype=np.int64)
    fitting = max(1, int(np.searchsorted(ends, GROUP_BYTES, side="right")))
    size = min(GROUP_ROWS, fitting)
    return size if size < len(rows) or size == GROUP_ROWS else 0


class RowDigest:
    """SHA-256 of label names and rows, in their order; independent of file format, place and time."""

    def __init__(self, label_names: Sequence[str]) -> None:
        self._sha256 = hashlib.sha256()
        for name in label_names:
            content = name.encode()
            self._sha256.update(len(content).to_bytes(8, "big"))  # "ab", "c" is not "a", "bc"
            self._sha256.update(content)

    def add(self, rows: pa.Table) -> None:
        """Add rows: length of the text in bytes, text and label, both numbers as eight bytes.

        :param rows: columns ``text`` and ``label``.
        """
        import pyarrow as pa
        from pyarrow import compute

        for batch in rows.to_batches(max_chunksize=_DIGEST_ROWS):
            texts = batch.column("text").cast(pa.binary())
            parts = _eight_bytes(compute.binary_length(texts)), texts, _eight_bytes(batch.column("label"))
            joined = compute.binary_join_element_wise(*parts, b"")
            self._sha256.update(joined.buffers()[2])

    def hexdigest(self) -> str:
        """Return the digest of what was added so far."""
        return self._sha256.hexdigest()


class SliceDigest:
    """SHA-256 of which rows are in which slices. The digest of a data set is that of its rows, however they are sliced.

    :param columns: one for each slice.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = {name: hashlib.sha256() for name in columns}

    def add(self, rows: pa.Table) -> None:
        """Add rows: a byte for each row and slice, 1 where the row is in it."""
        for name, content in self._columns.items():
            content.update(rows.column(name).to_numpy().astype("u1").tobytes())

    def hexdigest(self) -> str:
        """Return the digest of what was added so far."""
        found = ((name.encode(), content.digest()) for name, content in self._columns.items())
        return hashlib.sha256(b"".join(len(name).to_bytes(8, "big") + name + own for name, own in found)).hexdigest()


def _columns(slices: Sequence[str] = ()) -> list[tuple[str, pa.DataType]]:
    import pyarrow as pa

    return [("text", pa.string()), ("label", pa.int64()), *((name, pa.bool_()) for name in slices)]


def _eight_bytes(numbers: pa.Array) -> pa.Array:
    """Return numbers as eight bytes each, the highest first."""
    import pyarrow as pa

    content = pa.py_buffer(numbers.to_numpy().astype(">i8"))
    return pa.Array.from_buffers(pa.binary(8), len(numbers), [None, content]).cast(pa.binary())


def digest(split: Split, label_names: Sequence[str]) -> str:
    """Return the SHA-256 of label names and rows, in their order."""
    import pyarrow as pa

    content = RowDigest(label_names)
    content.add(pa.Table.from_batches(split.batches()))
    return content.hexdigest()


def dataset_digest(document: Mapping[str, Any]) -> str:
    """Return the digest of a data set from those of its splits.

    :param document: ``dataset.json``, or as much of it as ``splits``.
    """
    splits = document["splits"]
    return hashlib.sha256("".join(splits[name]["sha256"] for name in sorted(splits)).encode()).hexdigest()


def read_dataset(uri: str) -> dict[str, Any]:
    """Read and check ``dataset.json``.

    :param uri: of the document, or of the folder that it lies in.
    :raises DataError: when it is not there.
    :raises include.contracts.documents.DocumentError: when it does not follow its schema.
    """
    import fsspec

    uri = as_uri(uri)
    if not uri.endswith(".json"):
        uri = f"{uri}/{DOCUMENT}"
    try:
        with fsspec.open(uri, "rb") as file:
            text = file.read().decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{uri}: not found. Run preprocessing first; this file is the last that it writes.") from None
    return Dataset.parse(text, where=uri).model_dump(exclude_unset=True)


def read_split(document: Mapping[str, Any], name: SplitName) -> Split:
    """Read the rows of a split.

    :param document: as :func:`read_dataset` returns it.
    :raises DataError: when the rows are not those that preprocessing wrote.
    """
    import fsspec
    from pyarrow import parquet

    facts = document["splits"][name]
    with fsspec.open(facts["uri"], "rb") as file:
        table = parquet.read_table(file, columns=["text", "label"])
    content = RowDigest(document["labels"])
    content.add(table)
    if content.hexdigest() != facts["sha256"]:
        raise _changed(facts)
    return Split(table.column("text").to_pylist(), table.column("label").to_pylist())


def split_batches(document: Mapping[str, Any], name: SplitName) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a split, columns ``text`` and ``label``, in batches: how many there are does not matter.

    :param document: as :func:`read_dataset` returns it.
    :raises DataError: behind the last batch, when the rows are not those that preprocessing wrote.
    """
    import fsspec
    import pyarrow as pa
    from pyarrow import parquet

    facts = document["splits"][name]
    content = RowDigest(document["labels"])
    with fsspec.open(facts["uri"], "rb") as file:
        for batch in parquet.ParquetFile(file).iter_batches(_DIGEST_ROWS, columns=["text", "label"]):
            content.add(pa.Table.from_batches([batch]))
            yield batch
    if content.hexdigest() != facts["sha256"]:
        raise _changed(facts)


def read_sample(document: Mapping[str, Any], name: SplitName, *, most: int) -> Split:
    """Read the rows of a split, or a random sample where they are more; the same one every time, in the rows' order.

    :param document: as :func:`read_dataset` returns it.
    :raises DataError: when the rows are not those that preprocessing wrote.
    """
    import numpy as np

    rows = document["splits"][name]["rows"]
    if rows <= most:
        return read_split(document, name)
    wanted = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    found = Split([], [])
    begin = 0
    for batch in split_batches(document, name):
        first, last = np.searchsorted(wanted, (begin, begin + len(batch)))
        chosen = batch.take(wanted[first:last] - begin)
        found.texts.extend(chosen.column("text").to_pylist())
        found.labels.extend(chosen.column("label").to_pylist())
        begin += len(batch)
    return found


def _changed(facts: Mapping[str, Any]) -> DataError:
    return DataError(f"{facts['uri']}: was changed after {DOCUMENT} was written. Run preprocessing again.")


def slice_rules(document: Mapping[str, Any]) -> list[SliceRule]:
    """Return the slices that the settings name.

    :param document: as :func:`read_dataset` returns it.
    """
    return [SliceRule.model_validate(rule) for rule in document.get("slices", ())]


def read_slices(document: Mapping[str, Any], name: SplitName) -> dict[str, np.ndarray]:
    """Return which rows of a split are in the slices by a column: name of the slice -> bool, shape (rows,).

    :param document: as :func:`read_dataset` returns it.
    :raises DataError: when that is not what preprocessing wrote.
    """
    import fsspec
    from pyarrow import parquet

    columns = {rule.name: slice_column(rule.name) for rule in slice_rules(document) if rule.column is not None}
    if not columns:
        return {}
    facts = document["splits"][name]
    content = SliceDigest(list(columns.values()))
    with fsspec.open(facts["uri"], "rb") as file:
        table = parquet.read_table(file, columns=list(columns.values()))
    content.add(table)
    if content.hexdigest() != facts.get("slices_sha256"):
        raise _changed(facts)
    return {slice_name: table.column(column).to_numpy() for slice_name, column in columns.items()}
