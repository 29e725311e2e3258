"""The folder of one model in the model store: one folder for each version, named after it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from include.contracts.monitoring.drift import DRIFT_FOLDER, REPORT_FILE, STALENESS_FOLDER
from include.contracts.version.claims import CLAIM_FILE, claiming_installation
from include.contracts.version.files import reason_of, write_file
from include.contracts.version.numbers import release_time
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

#: Begins the name of a file in a version's folder: the installation that the name goes on with has taken it over.
_TAKEN_OVER_BY = "taken-over-by-"
_MOST_CLAIM_BYTES = 10_000


def that_may_lie_in(uri: str, others: Iterable[str]) -> list[str]:
    """Return those of other models' folders for which :class:`ModelStore` has to look whether they lie in this one.

    By the folder's own name, which the address of whatever lies in it has as well, however it is spelled. Of a thousand
    models that leaves none as a rule, and the DAG that cleans up would hold a million addresses with all of them.
    """
    name = uri.rstrip("/").rpartition("/")[2]
    return [other for other in others if f"/{name}/" in f"/{other}/"]


class ModelStore:
    """Looks through a model's folder and deletes versions, and nothing but versions, from it.

    :param uri: the model's folder, for example ``s3://models/reviews``.
    :param conn_id: Airflow connection for the store, where it needs one.
    :param other_uris: folders of other models: no version is deleted that one of them lies in.
    """

    def __init__(self, uri: str, *, conn_id: str | None = None, other_uris: Sequence[str] = ()) -> None:
        from airflow.sdk import ObjectStoragePath

        self._folder = ObjectStoragePath(uri, conn_id=conn_id or None)
        self._others = [ObjectStoragePath(other).path.rstrip("/") for other in other_uris if other]

    @property
    def folder(self) -> ObjectStoragePath:
        """The model's folder."""
        return self._folder

    def versions(self) -> list[str]:
        """Return the versions that have a folder; whatever is named otherwise is none of the store's business.

        :raises ServiceUnavailableError: when the store cannot be read.
        """
        try:
            if not self._folder.exists():
                return []
            return sorted(path.name for path in self._folder.iterdir() if _is_version(path.name))
        except OSError as error:
            raise ServiceUnavailableError(f"{self._folder} cannot be read: {reason_of(error)}.") from error

    def size_bytes(self, version: str) -> int:
        """Return how much room a version takes."""
        folder = self._version(version)
        try:
            found = folder.fs.find(folder.path, detail=True)
        except OSError as error:
            raise ServiceUnavailableError(f"{folder} cannot be read: {reason_of(error, path=folder.path)}.") from error
        return sum(int(entry.get("size") or 0) for entry in found.values())

    def read(self, version: str, *path: str, max_bytes: int) -> bytes | None:
        """Return a file of a version, ``None`` when there is none.

        On a disk no link below the model's folder is followed, and nothing but a plain file is read: a training wrote
        what lies there, and must not decide which files somebody else's rights open.

        :param path: names of the folders in the version's, and of the file.
        :raises InvalidRequestError: for a link, for what is no plain file, and for more bytes than ``max_bytes``.
        :raises OSError: when the store does not give it.
        """
        self._version(version)
        return self._read((version, *path), max_bytes)

    def drift_reports(self) -> list[str]:
        """Return the times of the drift reports that are there, as 14 digits, earliest first.

        :raises OSError: when the store does not give it.
        """
        try:
            return sorted(path.name for path in (self._folder / DRIFT_FOLDER).iterdir() if _is_version(path.name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def drift_report(self, run: str, *, max_bytes: int) -> bytes | None:
        """Return a drift report, ``None`` when there is none; as careful as :meth:`read`.

        :param run: its time as 14 digits.
        """
        release_time(run)  # raises for anything that could lead out of the folder
        return self._read((DRIFT_FOLDER, run, REPORT_FILE), max_bytes)

    def staleness_report(self, *, max_bytes: int) -> bytes | None:
        """Return what older versions lose on newer data, ``None`` where it was not measured; see :meth:`read`."""
        return self._read((STALENESS_FOLDER, REPORT_FILE), max_bytes)

    def _read(self, path: Sequence[str], max_bytes: int) -> bytes | None:
        file = self._folder.joinpath(*path)
        try:
            opened = _open_plain(self._folder.path, path) if file.protocol == "file" else file.open("rb")
        except FileNotFoundError:
            return None
        with opened:
            content = opened.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise InvalidRequestError(f"{file} has more than {max_bytes} bytes.")
        return bytes(content)

    def obstacle(self, version: str) -> str | None:
        """Return why a version must not be deleted, ``None`` when nothing is in the way."""
        folder = self._version(version)
        if any(f"{other}/".startswith(f"{folder.path}/") for other in self._others):
            return "holds the store of another model"
        try:
            is_link = folder.exists() and folder.fs.info(folder.path).get("islink")
        except OSError as error:
            raise ServiceUnavailableError(f"{folder} cannot be read: {reason_of(error, path=folder.path)}.") from error
        return "a link to somewhere else; remove it by hand" if is_link else None

    def made_elsewhere(self, version: str, installation: str) -> bool:
        """Tell whether another installation has made a version, and so deletes it when its time has come.

        :param installation: this one, see :func:`kubeflow_provider.airflow_id.airflow_id`.
        """
        try:
            claim = self.read(version, CLAIM_FILE, max_bytes=_MOST_CLAIM_BYTES)
        except InvalidRequestError:
            return False  # nobody claims with a link
        return claiming_installation(claim) not in ("", installation)

    def is_taken_over(self, version: str, *, by: str = "") -> bool:
        """Tell whether an installation that has not made a version needs it.

        :param by: which installation; empty: any.
        """
        name = f"{_TAKEN_OVER_BY}{by}"
        return any(path.name.startswith(name) for path in self._version(version).iterdir())

    def take_over(self, version: str, installation: str) -> None:
        """Say in a version's folder that an installation needs it. Safe to repeat.

        :raises ServiceUnavailableError: when the store cannot be written.
        """
        file = self._version(version) / f"{_TAKEN_OVER_BY}{installation}.json"
        try:
            write_file(file.fs, file.path, b"{}\n")
        except OSError as error:
            raise ServiceUnavailableError(f"{file} cannot be written: {reason_of(error)}.") from error

    def let_go(self, version: str, installation: str) -> None:
        """Say that an installation does not need a version any more. Safe to repeat.

        :raises ServiceUnavailableError: when the store does not let it.
        """
        file = self._version(version) / f"{_TAKEN_OVER_BY}{installation}.json"
        try:
            with suppress(FileNotFoundError):
                file.unlink()
        except OSError as error:
            raise ServiceUnavailableError(f"{file} cannot be deleted: {reason_of(error)}.") from error

    def delete(self, version: str) -> None:
        """Delete a version with everything in it. Harmless when it is gone, and goes on where it was interrupted.

        :raises InvalidRequestError: when there is an :meth:`obstacle`.
        :raises ServiceUnavailableError: when the store does not let it.
        """
        folder = self._version(version)
        if obstacle := self.obstacle(version):
            raise InvalidRequestError(f"{folder} is not deleted: {obstacle}.")
        try:
            if folder.exists():
                folder.fs.rm(folder.path, recursive=True)
        except OSError as error:
            why = reason_of(error, path=folder.path)
            raise ServiceUnavailableError(f"{folder} cannot be deleted: {why}.") from error

    def _version(self, version: str) -> ObjectStoragePath:
        release_time(version)  # raises for anything that could lead out of the folder
        return self._folder / version


def _is_version(name: str) -> bool:
    try:
        release_time(name)
    except ValueError:
        return False
    return True


def _open_plain(root: str, path: Sequence[str]) -> IO[bytes]:
    """Open a plain file below a folder for reading, link by link refused; the folder itself may be a link."""
    inner = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for position, name in enumerate(path, start=1):
            kind = os.O_DIRECTORY if position < len(path) else os.O_NONBLOCK  # a FIFO would keep whoever opens it
            outer, inner = inner, os.open(name, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=inner)
            os.close(outer)
        if not stat.S_ISREG(os.fstat(inner).st_mode):
            raise OSError(errno.ENXIO, "no plain file")
        return os.fdopen(inner, "rb")
    except OSError as error:
        os.close(inner)
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            where = "/".join((root, *path))
            raise InvalidRequestError(f"{where} is a link or no plain file, and is not read.") from error
        raise
