"""Reads a folder of folders that are called by their labels and hold a file for each text, as IMDB's reviews come."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from include.classifier.data.bounds import LONGEST_LINE_BYTES
from include.classifier.data.formats.batches import Batch
from include.classifier.data.formats.encodings import SAMPLE_BYTES, as_utf8, encoding_remedy
from include.classifier.data.problems import DataError, Places, Problems
from include.classifier.data.sources import Source, explained
from include.contracts.settings import DataConfig

#: Files of one source.
_MOST = 1_000_000
_BATCH_ROWS, _BATCH_BYTES = 16_384, 16 << 20
#: Of the files so many may be unreadable; more of them mean another encoding, and are no rows to do without.
_MOST_UNREADABLE = 0.05


def has_class_folders(folder: str, source: Source) -> bool:
    """Return whether there are texts in a folder's folders.

    :raises DataError: when it may not be read.
    """
    try:
        return next(_texts(Path(folder)), None) is not None
    except OSError as error:
        raise explained(source.name, error) from None


def read_class_folders(source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    """Read the ``.txt`` files of all folders in the order of their names; links and what is hidden are left out.

    A file whose bytes are no text is a row without one, and is dropped and counted as such.

    :param problems: gathers what is wrong with the files.
    :raises DataError: when there are too many, or one is too large.
    """
    _, folder = source.filesystem()
    unreadable, sample, count, size = Places(), b"", 0, 0
    texts: list[str | None] = []
    labels: list[str] = []
    try:
        for count, path in enumerate(_texts(Path(folder)), start=1):
            content = _content(path, count, source)
            text = _decoded(content, data.encoding)
            if text is None:
                unreadable.add(_shown(f"{path.parent.name}/{path.name}"))
                sample = sample or content[:SAMPLE_BYTES]
            texts.append(text)
            labels.append(_shown(path.parent.name))
            size += len(content)
            if len(texts) == _BATCH_ROWS or size >= _BATCH_BYTES:
                yield _batch(texts, labels, count)
                texts, labels, size = [], [], 0
    except OSError as error:
        raise explained(source.name, error) from None
    if texts:
        yield _batch(texts, labels, count)
    if unreadable.count:
        what = f"{unreadable.count:,} of {count:,} files are not {data.encoding or 'UTF-8'} ({unreadable})"
        if unreadable.count > _MOST_UNREADABLE * count:
            problems.add(source.name, what, encoding_remedy(sample))
        else:
            print(f"{source.name}: {what}; they are dropped as empty.", flush=True)


def _texts(folder: Path) -> Iterator[Path]:
    for label in _plain(folder, folders=True):
        yield from (path for path in _plain(label, folders=False) if path.suffix.lower() == ".txt")


def _plain(folder: Path, *, folders: bool) -> list[Path]:
    """Return the folders or the files in a folder, in the order of their names."""
    with os.scandir(folder) as entries:
        found = [
            entry.name
            for entry in entries
            if not entry.name.startswith((".", "_"))
            and (entry.is_dir(follow_symlinks=False) if folders else entry.is_file(follow_symlinks=False))
        ]
    return [folder / name for name in sorted(found)]


def _content(path: Path, number: int, source: Source) -> bytes:
    if number > _MOST:
        raise DataError(f"{source.name}: holds more than {_MOST:,} texts. Write them as one .csv or .parquet.")
    with open(path, "rb", opener=_not_a_link) as file:
        content = file.read(LONGEST_LINE_BYTES + 1)
    if len(content) > LONGEST_LINE_BYTES:
        raise DataError(
            f"{source.name}: {source.place(number)} has more than {LONGEST_LINE_BYTES >> 20} MB. Write one text to a "
            "file."
        )
    return content


def _not_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _decoded(content: bytes, encoding: str | None) -> str | None:
    try:
        return as_utf8(io.BytesIO(content), encoding)[0].read().decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _shown(name: str) -> str:
    """Return a file's name, which may be any bytes, as text."""
    return os.fsencode(name).decode(errors="replace")


def _batch(texts: list[str | None], labels: list[str], end: int) -> Batch:
    import numpy as np
    import pyarrow as pa

    columns: list[Any] = [pa.array(values, pa.string()) for values in (texts, labels)]
    return Batch(np.arange(end - len(texts) + 1, end + 1), columns[:1], columns[1])
