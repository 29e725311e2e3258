"""The model store of one TorchServe: archives copied from wherever they were published, each one checked."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from airflow.sdk import ObjectStoragePath

from include.contracts.version.archives import MANIFEST, ArchiveContentError, check_archive
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import ModelVersion
from local_services.record import StoredVersion, check_names, split_name

#: Version of the placeholder, see :meth:`ArchiveStore.placeholder`. No release has it: theirs have 14 digits.
PLACEHOLDER_VERSION = "0"

_CHUNK_BYTES = 1 << 20


def check_servable(candidate: ModelVersion) -> None:
    """Find out whether a version's names and its kind of model can be served by TorchServe.

    :raises InvalidRequestError: when one of them cannot.
    """
    check_names(candidate.model, candidate.version)
    if candidate.settings.get("predictor"):
        raise InvalidRequestError(
            f"{candidate.model} has a `predictor`, and TorchServe serves none: give the model a connection of type "
            "`local_kserve` (`connections.serving` of its YAML)."
        )


class ArchiveStore:
    """The folder that TorchServe loads archives from.

    :param folder: made when it is absent, readable for this user only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, candidate: ModelVersion, name: str) -> None:
        """Copy a version's archive here, unless it is here already.

        :param name: its file name here.
        :raises InvalidRequestError: when it is not there, not the one that was announced, or of another version.
        :raises ServiceUnavailableError: when it cannot be read.
        """
        target = self._folder / name
        if not (target.is_file() and archive_digest(target) == candidate.archive_sha256):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._folder.glob("*.part"):  # of copies whose process was killed: one is made at a time
                left.unlink()
            part = target.with_suffix(".part")
            uri = f"{candidate.archive_uri.rstrip('/')}/model-store/{candidate.model}.mar"
            try:
                _download(uri, part, candidate.archive_sha256)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        try:
            _check_version(target, candidate.version)
        except InvalidRequestError:
            target.unlink()  # or it would be taken for one that was deployed
            raise

    def verify(self, name: str, sha256: str) -> None:
        """Make sure that an archive is still the one that was fetched.

        :raises InvalidRequestError: when it is not there or was changed.
        """
        path = self._folder / name
        if not path.is_file() or archive_digest(path) != sha256:
            raise InvalidRequestError(f"{path} is missing or was changed since it was copied there. Release it again.")

    def versions(self) -> dict[str, dict[str, StoredVersion]]:
        """Return what lies here, as far as it can be told from the archives alone: model -> version -> archive."""
        found: dict[str, dict[str, StoredVersion]] = {}
        for path in sorted(self._folder.glob("*.mar")):
            names = split_name(path.stem)
            if names and path.is_file() and not path.is_symlink():
                stored = StoredVersion(archive=path.name, sha256=archive_digest(path))
                found.setdefault(names[0], {})[names[1]] = stored
        return found

    def placeholder(self) -> str:
        """Return the file name of an archive that holds no model.

        TorchServe makes the first version that it hears of the one that everybody reaches. Registered without a
        worker, this one keeps that place until the first release is promoted.
        """
        path = self._folder / "placeholder.mar"
        if not path.is_file():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            model = {"modelName": "placeholder", "modelVersion": PLACEHOLDER_VERSION, "handler": "placeholder.py"}
            manifest = {"createdOn": "", "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(MANIFEST, json.dumps(manifest))
                archive.writestr("placeholder.py", "")
        return path.name

    def delete(self, name: str) -> None:
        """Delete an archive; harmless when it is not there."""
        (self._folder / name).unlink(missing_ok=True)


def _download(uri: str, target: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    try:
        with ObjectStoragePath(uri).open("rb") as source, target.open("wb") as sink:
            for chunk in _chunks(source):
                digest.update(chunk)
                sink.write(chunk)
    except FileNotFoundError as error:
        raise InvalidRequestError(f"{uri} is not there. Has the pipeline published this version?") from error
    except OSError as error:
        raise ServiceUnavailableError(f"{uri} cannot be copied to {target}: {error.strerror or error}.") from error
    if digest.hexdigest() != sha256:
        raise InvalidRequestError(
            f"{uri} has SHA-256 {digest.hexdigest()}, announced was {sha256}. It was changed after it was "
            "packed; it will not be loaded. Train and package this version again."
        )


def archive_digest(path: Path) -> str:
    """Return an archive's SHA-256, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in _chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK_BYTES), b"")


def _check_version(path: Path, version: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            found = check_archive(archive, where=path.name)["model"]["modelVersion"]
    except ArchiveContentError as error:
        raise InvalidRequestError(str(error)) from error
    except (zipfile.BadZipFile, KeyError, TypeError) as error:
        raise InvalidRequestError(f"{path.name} is not a model archive with a {MANIFEST}.") from error
    if found != version:
        raise InvalidRequestError(f"{path.name} holds version {found!r}; asked for was {version!r}.")
