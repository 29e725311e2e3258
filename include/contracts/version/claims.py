"""Whose a folder of the model store is: of whoever made the file in it that says so.

A version belongs to one release, whichever half makes it; within it, each training belongs to one attempt.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from include.contracts.version.files import new_file
from include.contracts.version.numbers import release_time, version_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: In the folder of a version.
CLAIM_FILE = "claim.json"
#: In the folder of a version, which is that of its first attempt, and in those of the others.
ATTEMPT_FILE = "attempt.json"

#: So many seconds are looked through for a free one, and so many attempts.
HORIZON = 600


class NothingFreeError(ValueError):
    """Everything that could be claimed is somebody else's."""


def claim_version(
    filesystem: AbstractFileSystem, folder: str, asked: str, *, mark: str, run: str, installation: str = ""
) -> str:
    """Claim a version of a model and return it: the one that is asked for, or the next second that nobody has.

    Whoever asks again with the same mark gets the same version.

    :param folder: of the model in the model store.
    :param mark: what tells this run from every other one, those of other installations with the same store included.
    :param run: the run in words, for people who find the file.
    :param installation: what tells the Airflow that claims it from others; empty without one.
    :raises NothingFreeError: when no version is free.
    :raises ValueError: when what is asked for is no version.
    :raises OSError: when the store cannot be written.
    """
    folder = folder.rstrip("/")
    first = release_time(asked)
    versions = (version_of(first + timedelta(seconds=seconds)) for seconds in range(HORIZON))
    taken = {path.rstrip("/").rpartition("/")[2] for path in _entries(filesystem, folder)}
    claim = {"mark": mark, "run": run, **({"installation": installation} if installation else {})}
    if version := _claim(filesystem, folder, versions, taken, file=CLAIM_FILE, claim=claim):
        return version
    raise NothingFreeError(f"{folder} has a version for each of the {HORIZON} seconds from {asked}.")


def claiming_installation(claim: bytes | None) -> str:
    """Return which installation a claim says has made the version, empty where none says so.

    :param claim: what stands in the file, ``None`` without one.
    """
    try:
        return str(json.loads(claim or b"{}").get("installation", ""))
    except (ValueError, AttributeError):
        return ""


def claim_attempt(filesystem: AbstractFileSystem, folder: str, *, mark: str, run: str) -> str:
    """Claim a place for what a training makes and return its name below the version's folder, empty for the first.

    A training that is started once more, because somebody has cleared it, writes beside what was there before.

    :param folder: of the version.
    :raises NothingFreeError: when there are too many already.
    :raises OSError: when the store cannot be written.
    """
    names = ("" if number == 1 else f"attempt-{number}" for number in range(1, HORIZON + 1))
    # A version 0.1.0 claimed nothing.
    taken = {""} if filesystem.exists(f"{folder}/package") else set()
    name = _claim(filesystem, folder, names, taken, file=ATTEMPT_FILE, claim={"mark": mark, "run": run})
    if name is None:
        raise NothingFreeError(f"{folder} has {HORIZON} attempts already.")
    return name


def _entries(filesystem: AbstractFileSystem, folder: str) -> list[str]:
    filesystem.invalidate_cache(folder)
    try:
        return list(filesystem.ls(folder, detail=False))
    except FileNotFoundError:
        return []


def _claim(
    filesystem: AbstractFileSystem,
    folder: str,
    names: Iterable[str],
    taken: Collection[str],
    *,
    file: str,
    claim: Mapping[str, str],
) -> str | None:
    text = json.dumps(claim) + "\n"
    for name in names:
        path = "/".join(part for part in (folder, name, file) if part)
        if name not in taken:
            _create(filesystem, path, text)
        if _mark(filesystem, path) == claim["mark"]:
            return name
    return None


def _create(filesystem: AbstractFileSystem, path: str, text: str) -> None:
    """Make a file that was not there; one that somebody else has made meanwhile stays."""
    try:
        # A disk and S3 make it or refuse it in one step. Who wins on a store that cannot is read afterwards.
        with new_file(filesystem, path, "xb") as file:
            file.write(text.encode())
    except OSError:  # stores have errors of their own for what is there already
        if not filesystem.exists(path):
            raise


def _mark(filesystem: AbstractFileSystem, path: str) -> str | None:
    """Return whose it is, ``None`` where nobody has claimed it in this way."""
    try:
        return str(json.loads(filesystem.cat_file(path).decode("utf-8"))["mark"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
