"""Files of the model store: whoever shares a folder there shares what is made in it.

On a volume Airflow and the steps of a pipeline may be different users. What they have in common is the group of the
folder that the store lies in, so what one makes is handed to that group, whatever the umask, and the other goes on in
it. A private folder stays private, and an object store knows no users.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: What is made in a shared folder; the first bit hands the group on to what is made in it.
SHARED_FOLDER_MODE = 0o2770
SHARED_FILE_MODE = 0o660
#: A folder with one of these is shared.
_SHARES = stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH

_REMEDIES = (
    "Three ways out: let Airflow and the steps be one user (`cluster.run_as_user`); or give both the group of that "
    "folder (`cluster.run_as_group`, and `fsGroup` of Airflow's pods) and the group what is there already (`chmod -R "
    "g+rwX`); or keep the store in an object store"
)


def make_folder(filesystem: AbstractFileSystem, folder: str) -> None:
    """Make a folder of the store, and those above it that are missing."""
    if not _is_local(filesystem):
        filesystem.makedirs(folder, exist_ok=True)
        return
    path = Path(folder)
    for each in reversed([each for each in (path, *path.parents) if not each.exists()]):
        each.mkdir(exist_ok=True)
        _share(each, SHARED_FOLDER_MODE)


@contextmanager
def new_file(filesystem: AbstractFileSystem, path: str, mode: str = "wb") -> Iterator[IO[bytes]]:
    """Open a file of the store for writing, in a folder that is made where it is missing.

    :param mode: ``wb``, or ``xb`` to refuse what is there.
    """
    make_folder(filesystem, path.rpartition("/")[0])
    with filesystem.open(path, mode) as file:
        if _is_local(filesystem):
            _share(Path(path), SHARED_FILE_MODE)
        yield file


def write_file(filesystem: AbstractFileSystem, path: str, content: bytes) -> None:
    """Write a file of the store."""
    with new_file(filesystem, path) as file:
        file.write(content)


def hand_on(path: Path, mode: int) -> None:
    """Give what was made to the group of the folder that it lies in.

    :raises OSError: when this user is not in that group, or the file system knows none; the mode is left as it was.
    """
    group = path.parent.stat().st_gid
    if path.stat().st_gid != group:
        os.chown(path, -1, group)
    path.chmod(mode)


def reason_of(error: OSError, *, path: str = "") -> str:
    """Return why a file of the store cannot be had, in words; of a denied one whose it is, who asked and what to do.

    :param path: what it is about, where the error does not say.
    """
    named = str(error.filename or "")
    place = named if named.startswith("/") else path
    if not isinstance(error, PermissionError) or not place.startswith("/"):
        return error.strerror or str(error)
    with suppress(OSError):
        where = _obstacle(Path(place))
        status = where.stat()
        groups = ", ".join(map(str, sorted({os.getegid(), *os.getgroups()})))
        return (
            f"{where} belongs to user {status.st_uid} and group {status.st_gid} with mode "
            f"{stat.S_IMODE(status.st_mode):04o}, and user {os.geteuid()} of group {groups} asked. {_REMEDIES}"
        )
    return error.strerror or str(error)


@contextmanager
def permissions_explained() -> Iterator[None]:
    """Let an error of permissions say what :func:`reason_of` says; for whoever ends with a traceback."""
    try:
        yield
    except PermissionError as error:
        raise PermissionError(errno.EACCES, reason_of(error)) from error


def _is_local(filesystem: AbstractFileSystem) -> bool:
    return "file" in filesystem.protocol


def _share(path: Path, mode: int) -> None:
    with suppress(OSError):  # whose it is not cannot hand it on: what it is good for is seen where it is used
        if path.parent.stat().st_mode & _SHARES:
            hand_on(path, mode)


def _obstacle(path: Path) -> Path:
    """Return what is in the way: a folder that may not be entered, the path itself, or the folder where it would be."""
    existing = path.anchor
    for each in (*reversed(path.parents), path):
        if not each.exists():
            break
        existing = str(each)
        if each.is_dir() and not _may(each, os.X_OK):
            break
    found = Path(existing)
    if found == path and not found.is_dir() and _may(found, os.R_OK | os.W_OK):
        return found.parent  # it was to be deleted, or another put in its place
    return found


def _may(path: Path, what: int) -> bool:
    return os.access(path, what, effective_ids=True)
