"""What a ``.mar`` archive may be before anybody unpacks it: whoever reads one need not have packed it."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import PurePosixPath
from typing import Any

MANIFEST = "MAR-INF/MANIFEST.json"

#: A name that is valid at once as TorchServe model, InferenceService, DAG id part and registry entry.
MODEL_NAME = r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$"

_MOST_ENTRIES = 1000
#: Weights shrink hardly, vocabularies to a fifth.
_LARGEST_RATIO = 20
_SMALL_BYTES = 10_000_000
_LARGEST_MANIFEST_BYTES = 100_000


class ArchiveContentError(ValueError):
    """An archive is not unpacked; the message says why."""


def check_archive(archive: zipfile.ZipFile, *, where: str) -> dict[str, Any]:
    """Refuse an archive that would write elsewhere, or more than its size lets expect; return its manifest.

    :param where: path or URI of the file, for the message.
    :raises ArchiveContentError: naming the entry.
    """
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise ArchiveContentError(f"{where} has {len(entries)} entries, and no model has more than {_MOST_ENTRIES}.")
    names = set()
    for entry in entries:
        name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
        leads_out = name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name
        if leads_out or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveContentError(f"{where}: entry {name!r} points out of the archive; do not use this file.")
        if name in names:
            raise ArchiveContentError(f"{where}: entry {name!r} is there twice; do not use this file.")
        names.add(name)
    packed, unpacked = sum(entry.compress_size for entry in entries), sum(entry.file_size for entry in entries)
    if unpacked > _SMALL_BYTES + _LARGEST_RATIO * packed:
        raise ArchiveContentError(
            f"{where} unpacks to {unpacked / 1e6:.0f} MB, more than {_LARGEST_RATIO} times its size; do not use this "
            "file."
        )
    return _manifest(archive, where)


def _manifest(archive: zipfile.ZipFile, where: str) -> dict[str, Any]:
    try:
        if archive.getinfo(MANIFEST).file_size > _LARGEST_MANIFEST_BYTES:
            raise ArchiveContentError(f"{where}: {MANIFEST} has more than {_LARGEST_MANIFEST_BYTES} bytes.")
        document = json.loads(archive.read(MANIFEST))
    except KeyError:
        raise ArchiveContentError(f"{where} has no {MANIFEST}: it is no .mar archive.") from None
    except (ValueError, RecursionError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        if isinstance(error, ArchiveContentError):
            raise
        raise ArchiveContentError(f"{where}: {MANIFEST} cannot be read.") from error
    if not isinstance(document, dict):
        raise ArchiveContentError(f"{where}: {MANIFEST} cannot be read.")
    return document
