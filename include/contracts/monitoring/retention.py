"""How long captured requests and later labels stay: whole days go."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import Any, NamedTuple

from include.contracts.monitoring.layout import CAPTURED, LABELS, days


class Going(NamedTuple):
    """What goes.

    :param days: folders of a day.
    :param bytes: of their files.
    """

    days: int
    bytes: int


def captured_before(store: Any, first_kept: date, *, delete: bool) -> Going:
    """Find, and delete, the captured requests and labels of the days before one.

    :param store: the model's folder in the store, see :func:`.layout.days`.
    :param first_kept: the first day that stays.
    :param delete: delete them, and do not only count.
    :raises OSError: when one cannot be read or deleted.
    """
    number = size = 0
    for folder in (store / CAPTURED, store / LABELS):
        for day in days(folder):
            if day >= first_kept:
                break
            number += 1
            for path in list((folder / day.isoformat()).iterdir()):
                size += path.stat().st_size
                if delete:
                    path.unlink()
            if delete:
                with suppress(FileNotFoundError):  # a folder of an object store ends with its last file
                    (folder / day.isoformat()).rmdir()
    return Going(number, size)
