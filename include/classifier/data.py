"""The data set on disk: two Parquet files and ``dataset.json``, which is written last and so vouches for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from include.classifier.problems import DataError
from include.classifier.sources import SplitName, as_uri
from include.contracts import documents

DOCUMENT = "dataset.json"


class Split(NamedTuple):
    """Rows to train or to evaluate on."""

    texts: list[str]  #: Cleaned.
    labels: list[int]  #: Index into the data set's label names, one for each text.


def write_dataset(
    output_uri: str,
    *,
    model: str,
    label_names: Sequence[str],
    splits: Mapping[SplitName, Split],
    sources: Iterable[Mapping[str, Any]],
    rows_in: int,
    dropped: Mapping[str, Mapping[SplitName, int]],
) -> dict[str, Any]:
    """Write the Parquet files and then ``dataset.json``; the same rows give the same Parquet bytes and digests.

    :param output_uri: URI of the folder; what an earlier try left there is replaced.
    :param sources: ``uri``, ``split`` and ``rows`` of each source.
    :param dropped: reason -> split -> rows.
    :return: the document, as in ``include/contracts/dataset.schema.json``.
    """
    import pyarrow as pa
    from fsspec.core import url_to_fs
    from pyarrow import parquet

    output_uri = as_uri(output_uri)
    filesystem, folder = url_to_fs(output_uri)
    filesystem.makedirs(folder, exist_ok=True)
    if filesystem.exists(f"{folder}/{DOCUMENT}"):
        filesystem.rm_file(f"{folder}/{DOCUMENT}")  # or a broken-off second try would look finished
    facts: dict[str, dict[str, Any]] = {}
    for name, split in splits.items():
        table = pa.table({"text": pa.array(split.texts, pa.string()), "label": pa.array(split.labels, pa.int64())})
        with filesystem.open(f"{folder}/{name}.parquet", "wb") as file:
            parquet.write_table(table, file, compression="zstd")
        facts[name] = {
            "uri": f"{output_uri}/{name}.parquet",
            "rows": len(split.texts),
            "label_counts": {label: split.labels.count(index) for index, label in enumerate(label_names)},
            "sha256": digest(split, label_names),
        }
    document = {
        "schema_version": 1,
        "model": model,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "labels": list(label_names),
        "splits": facts,
        "sources": [dict(source) for source in sources],
        "rows_in": rows_in,
        "rows_kept": sum(len(split.texts) for split in splits.values()),
        "dropped": {reason: dict(counts) for reason, counts in dropped.items()},
        "sha256": dataset_digest({"splits": facts}),
    }
    uri = f"{output_uri}/{DOCUMENT}"
    text = documents.dump("dataset", document, where=uri)
    # Written beside and moved into place: a reader sees all of it or nothing.
    filesystem.pipe_file(f"{folder}/.{DOCUMENT}", text.encode())
    filesystem.mv(f"{folder}/.{DOCUMENT}", f"{folder}/{DOCUMENT}")
    return document


def digest(split: Split, label_names: Sequence[str]) -> str:
    """Return the SHA-256 of label names and rows, in their order; independent of file format, place and time."""
    sha256 = hashlib.sha256()
    for name in label_names:
        _add(sha256, name)
    for text, label in zip(split.texts, split.labels, strict=True):
        _add(sha256, text)
        sha256.update(label.to_bytes(8, "big"))
    return sha256.hexdigest()


def dataset_digest(document: Mapping[str, Any]) -> str:
    """Return the digest of a data set from those of its splits.

    :param document: ``dataset.json``, or as much of it as ``splits``.
    """
    splits = document["splits"]
    return hashlib.sha256("".join(splits[name]["sha256"] for name in sorted(splits)).encode()).hexdigest()


def _add(sha256: Any, text: str) -> None:
    content = text.encode()
    sha256.update(len(content).to_bytes(8, "big"))  # "ab", "c" is not "a", "bc"
    sha256.update(content)


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
    return documents.parse("dataset", text, where=uri)


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
    split = Split(table.column("text").to_pylist(), table.column("label").to_pylist())
    if digest(split, document["labels"]) != facts["sha256"]:
        raise DataError(f"{facts['uri']}: was changed after {DOCUMENT} was written. Run preprocessing again.")
    return split
