"""The files of a model of any format, and the one digest that stands for all of them.

A model is one file, whose digest is that of its bytes, or a folder, whose digest is made of its files' names and
digests: what the two commands below print for the folder. Whoever publishes a model and whoever serves it compute it
here, so a release serves just the bytes that were judged.

``cd FOLDER && find . -type f | cut -c3- | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum``
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

#: No model of one machine has more.
MOST_FILES = 1_000
MOST_BYTES = 20_000_000_000

_LONGEST_NAME = 500
_CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Each part between the slashes; no hidden file, nothing that leads out, nothing that a shell or `sha256sum` escapes.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._+=@-]*")


class ModelFilesError(ValueError):
    """A file or folder is no model; the message says why."""


def check_names(names: Mapping[str, int], *, where: str) -> None:
    """Refuse files that are too many, too large, or whose names lead elsewhere.

    :param names: name below the folder, with ``/`` -> size in bytes.
    :param where: path or URI of the folder, for the message.
    :raises ModelFilesError: naming the file.
    """
    if not names:
        raise ModelFilesError(f"{where} has no file in it.")
    if len(names) > MOST_FILES:
        raise ModelFilesError(
            f"{where} has more than {MOST_FILES} files, and no model has. Name the model's own folder."
        )
    for name in names:
        if len(name) > _LONGEST_NAME or not all(_PART.fullmatch(part) for part in name.split("/")):
            raise ModelFilesError(
                f"{where}: the file {name[:100]!r} cannot be part of a model. Use letters, digits, spaces and `._+=@-` "
                "and begin no name with a dot."
            )
    if sum(names.values()) > MOST_BYTES:
        raise ModelFilesError(f"{where} has {sum(names.values()) / 1e9:.0f} GB; {MOST_BYTES / 1e9:.0f} are allowed.")


def folder_digest(files: Mapping[str, str]) -> str:
    """Return the hex SHA-256 of a folder.

    :param files: name below the folder, with ``/`` -> hex SHA-256 of its bytes.
    :raises ModelFilesError: for what is no such digest.
    """
    for name, digest in files.items():
        if not _SHA256.fullmatch(digest):
            raise ModelFilesError(f"{name!r} has no hex SHA-256.")
    # Sorted by bytes, which for UTF-8 is the order of Python's strings.
    return hashlib.sha256("".join(f"{files[name]}  {name}\n" for name in sorted(files)).encode()).hexdigest()


def digest_of(path: Path) -> str:
    """Return the hex SHA-256 of a model that lies on this machine.

    :param path: its file or folder.
    :raises ModelFilesError: for a link or another file that is not plain, here or below, and for names and sizes that
        no model has.
    :raises OSError: when something cannot be read.
    """
    if stat.S_ISDIR(path.lstat().st_mode):
        return folder_digest({name: file_digest(path / name) for name in files_of(path)})
    return file_digest(path)


def files_of(folder: Path) -> dict[str, int]:
    """Return the name of each file of a folder, with its size in bytes.

    :raises ModelFilesError: as :func:`digest_of`.
    """
    found = dict(_walk(folder, ""))
    check_names(found, where=str(folder))
    return found


def file_digest(path: Path) -> str:
    """Return the hex SHA-256 of a plain file's bytes; a link is not followed.

    :raises ModelFilesError: when it is no plain file.
    """
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise ModelFilesError(f"{path} is a link; a model has plain files only.") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ModelFilesError(f"{path} is no plain file.")
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number > MOST_FILES:
                raise ModelFilesError(f"{folder} has more than {MOST_FILES} files, and no model has.")
            if entry.is_dir(follow_symlinks=False):
                if prefix.count("/") > 20:
                    raise ModelFilesError(f"{folder} lies too deep for a model's folder.")
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name, entry.stat(follow_symlinks=False).st_size
            else:
                raise ModelFilesError(
                    f"{folder / entry.name} is a link or no plain file; a model has plain files only."
                )
