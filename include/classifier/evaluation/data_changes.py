"""Holds the data set of a release against that of the live version: what ``dataset.json`` counts, and new words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from include.classifier.data.dataset import read_dataset
from include.classifier.data.problems import DataError
from include.classifier.data.sources import as_uri
from include.classifier.progress import report
from include.contracts.data.changes import DataChange, DataChanges
from include.contracts.dataset import Dataset
from include.contracts.documents import DocumentError
from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.contracts.rules.data_changes import changes_of

#: Rows of a split whose words are looked at, spread evenly over it, and characters of a text.
MOST_ROWS, _MOST_CHARACTERS = 20_000, 2_000
_WORD = re.compile(r"\w+")

_CANDIDATE = "candidate.json"


def data_changes(dataset_uri: str, live_uri: str) -> dict[str, Any] | None:
    """Return :class:`~include.contracts.data.changes.DataChanges`, ``None`` where nothing is known of the live version.

    A data set that is gone, or was made before anything was counted, is no reason to end a release: what cannot be
    compared is said.

    :param dataset_uri: of the release's ``dataset.json``.
    :param live_uri: package of the live model; empty before the first release.
    """
    found = _live_release(live_uri) if live_uri else None
    if found is None:
        if live_uri:
            report("evaluate: what the live version was trained on is not known; the data are not compared")
        return None
    candidate = _dataset(dataset_uri)
    try:
        live = _dataset(found.dataset.uri)
    except (OSError, DataError, DocumentError):
        changes: list[DataChange] = []
        not_compared = "the data set of the live version is not there any more"
    else:
        changes, not_compared = _changes(candidate, live)
    compared = DataChanges(version=found.version, changes=changes, not_compared=not_compared)
    report(f"evaluate: data against {found.version}: {compared.line()}")
    return compared.model_dump()


def _changes(candidate: Dataset, live: Dataset) -> tuple[list[DataChange], str]:
    """Return what has changed, and what could not be compared."""
    missing = [] if live.splits.train.profile else ["lengths and scripts, which the live version has not counted"]
    changes = list(changes_of(candidate, live))
    try:
        changes.append(_unknown_words(candidate, live))
    except (OSError, ValueError):
        missing.append("words: the rows of the live version are not there any more")
    return changes, "; ".join(missing)


def _live_release(live_uri: str) -> TextClassifierCandidate | None:
    """Return ``candidate.json`` of a package: it stands in the folder of the version, above that of the attempt."""
    import fsspec

    uri = as_uri(live_uri)
    for folder in (uri.rpartition("/")[0], uri.rpartition("/")[0].rpartition("/")[0]):
        where = f"{folder}/{_CANDIDATE}"
        try:
            with fsspec.open(where, "rb") as file:
                found = TextClassifierCandidate.parse(file.read().decode("utf-8"), where=where)
        except (OSError, ValueError):  # a document that is none is a ValueError
            continue
        if as_uri(found.archive.uri) == uri:
            return found
    return None


def _dataset(uri: str) -> Dataset:
    return Dataset.read(read_dataset(uri), where=uri)


def _unknown_words(candidate: Dataset, live: Dataset) -> DataChange:
    """Say how many words of the new training rows stand in no training row of the live version.

    There are always some: as many as in the live version's own evaluation rows are no change. Words count as often as
    they stand there.

    :raises OSError: when rows are gone.
    """
    known = {word for text in _texts(live.splits.train.uri, live.splits.train.rows) for word in _words(text)}
    before = _share_unknown(live.splits.evaluation.uri, live.splits.evaluation.rows, known)
    now = _share_unknown(candidate.splits.train.uri, candidate.splits.train.rows, known)
    return DataChange(
        name="unknown_words", distance=max(0.0, now - before), live=f"{before:.1%} unknown", candidate=f"{now:.1%}"
    )


def _share_unknown(uri: str, rows: int, known: set[str]) -> float:
    counts = Counter(word in known for text in _texts(uri, rows) for word in _words(text))
    return counts[False] / max(1, counts.total())


def _words(text: str) -> list[str]:
    return _WORD.findall(text[:_MOST_CHARACTERS].casefold())


def _texts(uri: str, rows: int) -> Iterator[str]:
    """Yield the texts of a Parquet file, and of many those that lie evenly in it."""
    import fsspec
    from pyarrow import parquet

    step, position = -(-rows // MOST_ROWS) or 1, 0
    with fsspec.open(as_uri(uri), "rb") as file:
        for batch in parquet.ParquetFile(file).iter_batches(columns=["text"]):
            texts = batch.column("text")
            yield from (texts[row].as_py() for row in range(-position % step, len(texts), step))
            position += len(texts)
