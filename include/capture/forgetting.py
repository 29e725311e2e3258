"""Deletes one person's requests by their ids, wherever they were captured: from requests and from later labels."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from include.capture.day_files import PART, finish_left, parts
from include.contracts.monitoring.layout import CAPTURED, LABELS, days, files, is_id

_POLL_SECONDS = 0.2


class ForgettingError(Exception):
    """Not everything could be looked through; the message says what to do. What was deleted stays deleted."""


@dataclass(slots=True)
class Forgotten:
    """What was deleted.

    :param requests: captured requests.
    :param labels: labels that came later.
    :param files: that were written anew, or deleted because nothing was left of them.
    """

    requests: int = 0
    labels: int = 0
    files: int = 0


def read_ids(text: str) -> list[str]:
    """Return the ids that are named, with commas or spaces between them, each once.

    :raises ForgettingError: when none is named, or one can be no id of a captured request.
    """
    found = list(dict.fromkeys(text.replace(",", " ").split()))
    if not found:
        raise ForgettingError("No id is named. IDS='id-1 id-2': what the answers' header x-request-id said.")
    if wrong := [number for number, each in enumerate(found, 1) if not is_id(each)]:
        raise ForgettingError(f"Id number {wrong[0]} can be none of a captured request: letters, digits and _.:=+/@-.")
    return found


def forget(store: Path, ids: Collection[str], *, wait_seconds: float = 150) -> Forgotten:
    """Delete every captured request and every label with one of these ids.

    Each file is replaced as a whole, so that nobody reads half of one. Files that a server is writing are waited for:
    it closes them after a minute. Done again after a failure, it goes on.

    :param store: the model's folder in the store.
    :param ids: of the requests.
    :param wait_seconds: for files that are being written.
    :raises ForgettingError: when a file cannot be read or written, or is still being written at the end of this time.
    """
    wanted = frozenset(ids)
    found = Forgotten()
    try:
        found.requests += _forget_in(store / CAPTURED, wanted, found)
        found.labels += _forget_in(store / LABELS, wanted, found)
        # What was being written meanwhile, and requests that waited for it.
        _wait_for_writers(store, time.monotonic() + wait_seconds)
        found.requests += _forget_in(store / CAPTURED, wanted, found)
        found.labels += _forget_in(store / LABELS, wanted, found)
    except OSError as error:
        raise ForgettingError(
            f"{error.filename or store} cannot be read or written ({error.strerror or error}). Mend that, and do this "
            "again."
        ) from error
    return found


def _wait_for_writers(store: Path, until: float) -> None:
    """Wait until the files are closed that are being written now; one whose writer is gone is finished."""
    waiting = [*parts(store / CAPTURED), *parts(store / LABELS)]
    while waiting := [path for path in waiting if path.exists() and not finish_left(path)]:
        if time.monotonic() > until:
            raise ForgettingError(
                f"{len(waiting)} files such as {waiting[0]} are still being written. Do this again in a minute."
            )
        time.sleep(_POLL_SECONDS)


def _forget_in(folder: Path, ids: frozenset[str], found: Forgotten) -> int:
    number = 0
    for day in days(folder):
        for path in files(folder, day):
            number += _forget_in_file(path, ids, found)
    return number


def _forget_in_file(path: Path, ids: frozenset[str], found: Forgotten) -> int:
    """Write a file anew without the lines of these ids; return how many they were."""
    try:
        number = sum(1 for line in _lines(path) if _is_of(line, ids))
    except FileNotFoundError:
        return 0  # it had to make room
    if not number:
        return 0
    part = path.with_name(f".{path.name}-{uuid4().hex[:8]}{PART}")
    left = 0
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660), "wb") as file:
            for line in _lines(path):
                if not _is_of(line, ids):
                    left += file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if left:
            part.replace(path)
        else:
            path.unlink()
    finally:
        part.unlink(missing_ok=True)
    found.files += 1
    return number


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _is_of(line: bytes, ids: frozenset[str]) -> bool:
    """Tell whether a line is of one of these ids; one that is broken is, when it holds one of them."""
    try:
        return json.loads(line)["id"] in ids
    except (ValueError, KeyError, TypeError, RecursionError):
        return any(each.encode() in line for each in ids)
