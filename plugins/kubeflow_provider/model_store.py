"""The folder of one model in the model store: one folder for each version, named after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.retention import release_time

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


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

    def versions(self) -> list[str]:
        """Return the versions that have a folder; whatever is named otherwise is none of the store's business.

        :raises ServiceUnavailableError: when the store cannot be read.
        """
        try:
            if not self._folder.exists():
                return []
            return sorted(path.name for path in self._folder.iterdir() if _is_version(path.name))
        except OSError as error:
            raise ServiceUnavailableError(f"{self._folder} cannot be read: {error.strerror or error}.") from error

    def size_bytes(self, version: str) -> int:
        """Return how much room a version takes."""
        folder = self._version(version)
        try:
            found = folder.fs.find(folder.path, detail=True)
        except OSError as error:
            raise ServiceUnavailableError(f"{folder} cannot be read: {error.strerror or error}.") from error
        return sum(int(entry.get("size") or 0) for entry in found.values())

    def obstacle(self, version: str) -> str | None:
        """Return why a version must not be deleted, ``None`` when nothing is in the way."""
        folder = self._version(version)
        if any(f"{other}/".startswith(f"{folder.path}/") for other in self._others):
            return "holds the store of another model"
        try:
            is_link = folder.exists() and folder.fs.info(folder.path).get("islink")
        except OSError as error:
            raise ServiceUnavailableError(f"{folder} cannot be read: {error.strerror or error}.") from error
        return "a link to somewhere else; remove it by hand" if is_link else None

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
            raise ServiceUnavailableError(f"{folder} cannot be deleted: {error.strerror or error}.") from error

    def _version(self, version: str) -> ObjectStoragePath:
        release_time(version)  # raises for anything that could lead out of the folder
        return self._folder / version


def _is_version(name: str) -> bool:
    try:
        release_time(name)
    except ValueError:
        return False
    return True
