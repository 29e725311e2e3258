"""The server's own store of packages: a folder for each version, as the native server reads one."""

from __future__ import annotations

import shutil
from pathlib import Path

from kubeflow_provider.services import ModelVersion
from local_services.record import StoredVersion, split_name
from local_services.torchserve.archives import ArchiveStore, archive_digest


class PackageStore:
    """A folder with ``<model>-<version>/model-store/<model>.mar`` for each version.

    :param folder: made when it is absent, readable for this user only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, candidate: ModelVersion, name: str) -> None:
        """Copy a version's archive here, unless it is here already.

        :param name: of its folder here.
        :raises InvalidRequestError: when it is not there, not the one that was announced, or of another version.
        :raises ServiceUnavailableError: when it cannot be read.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._archives(name).fetch(candidate, f"{candidate.model}.mar")
        except BaseException:
            if not self._archive(candidate.model, name).is_file():
                self.delete(name)
            raise

    def path(self, model: str, version: str, stored: StoredVersion) -> Path:
        """Return the folder of a version's package, after a look at whether its archive is as it was fetched.

        :raises InvalidRequestError: when it is not there or was changed.
        """
        self._archives(stored.archive).verify(f"{model}.mar", stored.sha256)
        return self._folder / stored.archive

    def versions(self) -> dict[str, dict[str, StoredVersion]]:
        """Return what lies here, without its settings, which only the record and the registry know."""
        found: dict[str, dict[str, StoredVersion]] = {}
        for path in sorted(self._folder.glob("*")):
            names = split_name(path.name)
            archive = self._archive(names[0], path.name) if names else path
            if names and archive.is_file() and not path.is_symlink() and not archive.is_symlink():
                stored = StoredVersion(archive=path.name, sha256=archive_digest(archive))
                found.setdefault(names[0], {})[names[1]] = stored
        return found

    def delete(self, name: str) -> None:
        """Delete a version's package; harmless when there is none."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _archives(self, name: str) -> ArchiveStore:
        return ArchiveStore(self._folder / name / "model-store")

    def _archive(self, model: str, name: str) -> Path:
        return self._folder / name / "model-store" / f"{model}.mar"
