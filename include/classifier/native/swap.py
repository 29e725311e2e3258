"""Puts another version in the place of the one that is served, at SIGHUP, in the same process and at the same sockets.

There is no path for it: whoever could load a model could load code. Who may send this process a signal already can.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from include.classifier.native.model import ServedModel
from include.classifier.native.served import Served
from include.classifier.packaging.archive import ArchiveError, open_archive
from include.classifier.packaging.served_package import ARCHIVE_SHA256, PackageError, pin

if TYPE_CHECKING:
    from include.classifier.native.server import Service

_log = logging.getLogger(__name__)


class Package:
    """The folder from which models are loaded.

    :param source: with ``model-store/``.
    :param folder: the server's own, which is emptied, and readable for this user only.
    :param workers: processes that compute; default: as the archive says.
    """

    def __init__(self, source: Path, folder: Path, *, workers: int | None) -> None:
        self._source = source
        self._folder = folder
        self._workers = workers
        self._numbers = count()
        self._lock = asyncio.Lock()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    @property
    def lock(self) -> asyncio.Lock:
        """Held by who loads: one after the other."""
        return self._lock

    def load(self) -> ServedModel:
        """Load what it holds now, from a copy that nobody else can change.

        :raises PackageError: when it holds no package, another one than ``$ARCHIVE_SHA256`` says, or one that cannot be
            loaded.
        """
        private = self._folder / "package"
        shutil.rmtree(private, ignore_errors=True)
        name = pin(self._source, private, os.environ.get(ARCHIVE_SHA256) or None)
        folder = self._folder / f"model-{next(self._numbers)}"
        try:
            return ServedModel(open_archive(private / "model-store" / f"{name}.mar", folder), workers=self._workers)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(private)


async def swap(service: Service, package: Package) -> None:
    """Load what the package holds and let it answer; what was begun with the model before is ended with that one.

    Where that cannot be, the log says why and everything stays as it is.
    """
    async with package.lock:
        present = service.state.model
        if present.workers > 1:
            _log.error(
                "%s %s stays: with %d workers, which are forked when nothing else runs, a model cannot be swapped. "
                "Start another server for the new version, and end this one.",
                *(present.name, present.version, present.workers),
            )
            return
        try:
            before = service.take(await asyncio.to_thread(_bring_up, service, package))
        except (PackageError, ArchiveError, OSError) as error:
            _log.error("%s %s stays: %s", present.name, present.version, error)
            return
        print(f"Serving {present.name} {service.state.model.version} in the place of {present.version}.", flush=True)
        await before.until_unused()
        before.close()
        shutil.rmtree(before.model.folder, ignore_errors=True)


def _bring_up(service: Service, package: Package) -> Served:
    present, model = service.state.model, package.load()
    problem = ""
    if model.name != present.name:
        problem = f"the package holds {model.name}, and this server is there for {present.name}"
    elif model.workers > 1:
        problem = f"the new one wants {model.workers} workers, which can be forked at the start alone"
    if problem:
        model.forget_code()
        shutil.rmtree(model.folder, ignore_errors=True)
        raise PackageError(f"{problem}.")
    try:
        return service.bring_up(model)
    except Exception as error:
        _log.exception("The model %s fails on its first text", model.name)
        raise PackageError(f"the new one fails on its first text: {type(error).__name__}.") from error
