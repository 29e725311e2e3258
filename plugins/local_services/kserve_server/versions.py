"""The server's own store of versions: files copied from wherever they were published, and known by their digest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from airflow.sdk import ObjectStoragePath

from include.contracts.version.model_files import (
    MOST_BYTES,
    ModelFilesError,
    check_names,
    file_digest,
    files_of,
    folder_digest,
)
from include.contracts.version.pinned_models import is_served_as_it_is
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import ModelVersion
from local_services.kserve_server.runtime.layout import FormatError, model_file
from local_services.kserve_server.settings import Predictor
from local_services.record import StoredVersion, split_name

_CHUNK_BYTES = 1 << 20


class VersionStore:
    """A folder with a folder of plain files for each version.

    :param folder: made when it is absent, readable for this user only.
    :param allow_pickle: whether files that run code may be served.
    """

    def __init__(self, folder: Path, *, allow_pickle: bool) -> None:
        self._folder = folder
        self._allow_pickle = allow_pickle

    def fetch(self, candidate: ModelVersion, name: str) -> None:
        """Copy a version's files here, unless they are here already.

        :param name: of its folder here.
        :raises InvalidRequestError: when they are not there, not the ones that were announced, or not of its format.
        :raises ServiceUnavailableError: when they cannot be read.
        """
        target = self._folder / name
        if not self._is_here(target, candidate.archive_sha256):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._folder.glob("*.part"):  # of copies whose process was killed: one is made at a time
                shutil.rmtree(left)
            part = target.with_name(f"{name}.part")
            part.mkdir(mode=0o700)
            try:
                _copy(candidate, part)
                shutil.rmtree(target, ignore_errors=True)
                part.replace(target)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        try:
            self.file(name, candidate.archive_sha256, Predictor.of(candidate.settings, version=candidate.version))
        except InvalidRequestError:
            shutil.rmtree(target)  # or it would be taken for one that was deployed
            raise

    def file(self, name: str, sha256: str, predictor: Predictor) -> Path:
        """Return the file that is loaded of a version, after a look at whether all of them are as they were fetched.

        :raises InvalidRequestError: when they are not there or were changed, or none is of the format.
        """
        folder = self._folder / name
        if not self._is_here(folder, sha256):
            raise InvalidRequestError(
                f"{folder} is missing or was changed since it was copied there. Release it again."
            )
        try:
            return folder / model_file(predictor.format, files_of(folder), allow_pickle=self._allow_pickle)
        except FormatError as error:
            raise InvalidRequestError(f"{name} cannot be served: {error}.") from None

    def path(self, model: str, version: str, stored: StoredVersion) -> Path:
        """Return the file that is loaded of a version, as :meth:`file` does."""
        return self.file(stored.archive, stored.sha256, Predictor.of(stored.settings, version=f"{model} {version}"))

    def versions(self) -> dict[str, dict[str, StoredVersion]]:
        """Return what lies here, without its settings, which only the record and the registry know."""
        found: dict[str, dict[str, StoredVersion]] = {}
        for path in sorted(self._folder.glob("*")):
            names = split_name(path.name)
            if names is None or path.is_symlink() or not path.is_dir():
                continue
            try:
                stored = StoredVersion(archive=path.name, sha256=_digests(path)[0])
            except (ModelFilesError, OSError):
                continue
            found.setdefault(names[0], {})[names[1]] = stored
        return found

    def delete(self, name: str) -> None:
        """Delete a version's files; harmless when there are none."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def _is_here(self, folder: Path, sha256: str) -> bool:
        try:
            return folder.is_dir() and sha256 in _digests(folder)
        except (ModelFilesError, OSError):
            return False


def _digests(folder: Path) -> list[str]:
    """Return the digest of a folder and, where it has one file only, before it that of this file.

    Of a model that is a file, and not a folder, the file's digest was announced.
    """
    files = {name: file_digest(folder / name) for name in files_of(folder)}
    return [*(files.values() if len(files) == 1 else ()), folder_digest(files)]


def _copy(candidate: ModelVersion, folder: Path) -> None:
    """Copy a version's file or folder, and refuse what has another digest than was announced."""
    uri = candidate.archive_uri.rstrip("/")
    if is_served_as_it_is(uri):
        raise InvalidRequestError(f"{uri} is read by KServe in a cluster alone; let the pipeline write its files.")
    try:
        source = ObjectStoragePath(uri)
        if source.is_dir():
            files = {name: _download(path, folder / name) for name, path in _files(source, uri)}
            found = folder_digest(files)
        else:
            check_names({source.name: 0}, where=uri)
            if not _is_plain(source.fs.info(source.path)):
                raise ModelFilesError(f"{uri} is a link or no plain file; a model has plain files only.")
            found = _download(source, folder / source.name)
    except ModelFilesError as error:
        raise InvalidRequestError(str(error)) from None
    except FileNotFoundError as error:
        raise InvalidRequestError(f"{uri} is not there. Has the pipeline published this version?") from error
    except OSError as error:
        raise ServiceUnavailableError(f"{uri} cannot be copied to {folder}: {error.strerror or error}.") from error
    if found != candidate.archive_sha256:
        raise InvalidRequestError(
            f"{uri} has SHA-256 {found}, announced was {candidate.archive_sha256}. It was changed after it was "
            "published; it will not be loaded. Train this version again."
        )


def _files(source: ObjectStoragePath, uri: str) -> Iterator[tuple[str, ObjectStoragePath]]:
    root = source.path.rstrip("/")
    found = source.fs.find(root, detail=True)
    names = {}
    for path, facts in found.items():
        if not _is_plain(facts):
            raise ModelFilesError(f"{uri}: {path.removeprefix(root)[1:100]!r} is a link or no plain file.")
        names[path.removeprefix(f"{root}/")] = int(facts.get("size") or 0)
    check_names(names, where=uri)
    for name in names:
        yield name, source / name


def _is_plain(facts: dict[str, object]) -> bool:
    return facts.get("type") == "file" and not facts.get("islink") and not facts.get("isLink")


def _download(source: ObjectStoragePath, target: Path) -> str:
    """Copy one file and return its digest; what was a plain file a moment ago and grows is not followed for ever."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), MOST_BYTES
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise ModelFilesError(f"{source} is larger than {MOST_BYTES / 1e9:.0f} GB.")
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()
