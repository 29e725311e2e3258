"""Sources that are many files: folders and patterns, as Spark, Dask and the exports of databases write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from include.classifier.data.formats.class_folders import has_class_folders
from include.classifier.data.formats.delta import LOG, pinned
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import CLASS_FOLDERS, HUB_PREFIX, Source, explained, format_of

#: Files of one source.
_MOST = 10_000
_WILDCARDS = "*?["
_OTHER_TABLES = re.compile(r"/metadata/[^/]+\.metadata\.json$|/\.hoodie/")


def all_files(sources: Iterable[Source], problems: Problems) -> list[Source]:
    """Return one source for each file, in the order of their names where a folder or a pattern stands for many.

    :param problems: gathers patterns and folders without a file.
    :raises SourceUnavailableError: when a store does not list what it holds.
    """
    found: list[Source] = []
    for source in sources:
        try:
            found += _files(source)
        except DataError as error:
            problems.take(error)
    return found


def _files(source: Source) -> list[Source]:
    files = listed_files(source)
    if files is None:
        return [source]
    if not files or len(files) > _MOST:
        raise DataError(
            f"{source.name}: holds {len(files):,} files whose names tell a format. A source is one file, "
            f"a folder of part files, or a pattern (wildcard) such as part-*.csv, with at most {_MOST:,} of them; "
            "on this machine also a folder of folders that are called by their labels and hold .txt files."
        )
    return files


def listed_files(source: Source) -> list[Source] | None:
    """Return a source for each file in a folder or of a pattern; ``None`` for whatever is one by itself.

    A table and a folder of class folders are one source each.

    :raises DataError: when a form names what it may not, or a folder holds a table that is read in no way.
    :raises SourceUnavailableError: when a store does not list what it holds.
    """
    if source.uri.startswith(HUB_PREFIX) or source.is_web_address:
        return None
    filesystem, path = source.filesystem()
    try:
        if filesystem.isdir(path):
            what, paths = "the folder", filesystem.find(path)
        elif any(mark in path for mark in _WILDCARDS) and not filesystem.exists(path):
            what, paths = "the pattern", filesystem.glob(path)
        else:
            return None
    except Exception as error:  # each kind of store has its own exceptions
        raise explained(source.name, error) from None
    if what == "the folder" and _is_delta_table(paths, path, source):
        return [pinned(source)]
    files = sorted(file for file in paths if format_of(PurePosixPath(file)) and not _is_hidden(file, path))
    if not files and source.is_local and what == "the folder" and has_class_folders(path, source):
        return [replace(source, found=CLASS_FOLDERS)]
    return [source.part(file if source.is_local else filesystem.unstrip_protocol(file)) for file in files]


def _is_delta_table(paths: Iterable[str], folder: str, source: Source) -> bool:
    """Return whether a folder is a table of Delta Lake.

    :raises DataError: when there are tables in it, or it is one of another kind: such a folder holds rows as well that
        were deleted or written anew.
    """
    tables = {path.partition(f"/{LOG}/")[0] for path in paths if f"/{LOG}/" in path}
    if tables - {folder}:
        raise DataError(f"{source.name}: holds Delta tables. Name each of them as a source of its own.")
    if any(_OTHER_TABLES.search(path) for path in paths):
        raise DataError(
            f"{source.name}: is a table of Iceberg or Hudi, whose files hold deleted rows as well. Export it "
            "as Parquet."
        )
    return bool(tables)


def _is_hidden(file: str, folder: str) -> bool:
    """Return whether Spark and its like put it beside the parts: ``_SUCCESS``, ``.part-0.csv.crc``."""
    root = PurePosixPath(folder)
    path = PurePosixPath(file)
    parts = path.relative_to(root).parts if path.is_relative_to(root) else (path.name,)
    return any(part.startswith(("_", ".")) for part in parts)
