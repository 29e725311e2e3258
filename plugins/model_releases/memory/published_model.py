"""Copies a model from where its pipeline has left it into the version's own folder: what is copied is judged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from include.contracts.rules.addresses import without_secrets
from include.contracts.rules.allowed_sources import EVERYTHING, is_allowed
from include.contracts.version.claims import NothingFreeError, claim_attempt
from include.contracts.version.files import new_file, reason_of
from include.contracts.version.model_files import MOST_BYTES, ModelFilesError, check_names
from include.contracts.version.pinned_models import check_pinned, is_served_as_it_is
from include.models import PROJECT_DIR
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

#: Where a model lies below the folder of its attempt: whatever stands in there is served.
PACKAGE_FOLDER = "package"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedFile:
    """One file as it was copied."""

    sha256: str
    size_bytes: int


def refuse_elsewhere(uri: str, allowed: Sequence[str], *, what: str = "model") -> None:
    """Make sure that a model lies where the pipeline may leave one: a run's outputs could name any file.

    :param what: what it is, where it is something else that a run names.
    :raises InvalidRequestError: when it does not.
    """
    shown = without_secrets(uri)
    if not is_allowed(uri, allowed):
        raise InvalidRequestError(
            f"The pipeline has left the {what} at {shown}, where it is not read. Name its folder in "
            "`outputs.allowed_sources` of the model's YAML, or let the pipeline write elsewhere."
        )
    if uri.startswith("file://"):
        path = uri.removeprefix("file://")
        if not is_allowed(f"file://{os.path.realpath(path)}", [_real(place) for place in allowed]):
            raise InvalidRequestError(f"The pipeline has left a link at {shown}, which leads elsewhere: not read.")


def connection_for(uri: str, store_uri: str, conn_id: str | None) -> str | None:
    """Return the connection to read a file with: the model store's, where it lies in a store of the same kind."""
    return (conn_id or None) if urlsplit(uri).scheme == urlsplit(store_uri).scheme else None


def sizes_of(source_uri: str, *, file_name: str | None, conn_id: str | None) -> dict[str, int]:
    """Return the files of a model with their sizes in bytes; raises what :func:`copy_model` does."""
    from airflow.sdk import ObjectStoragePath

    shown = without_secrets(source_uri)
    with _told(shown, "cannot be read"):
        if is_served_as_it_is(source_uri):
            check_pinned(source_uri)
            return {}
        source = ObjectStoragePath(source_uri.rstrip("/"), conn_id=conn_id or None)
        return {name: int(path.stat().st_size) for name, path in _files(source, shown, file_name)}


def copy_model(
    source_uri: str, folder_uri: str, *, run_id: str, file_name: str | None, conn_id: str | None
) -> tuple[str, dict[str, CopiedFile]]:
    """Copy a file or a folder into the version's folder, and return the URI of the copy and its files.

    A model that only a cluster reads stays where it is, and has no files; its address must be pinned.
    A try after another one for the same run writes over what that has left; another run gets a folder of its own.

    :param folder_uri: folder of the version in the model store.
    :param file_name: name that a single file gets; ``None``: its own.
    :param conn_id: Airflow connection for the model store, and for models in a store of the same kind.
    :raises InvalidRequestError: when it is not there, or cannot be a model.
    :raises ServiceUnavailableError: when it cannot be read, or the store cannot be written.
    """
    from airflow.sdk import ObjectStoragePath

    store = ObjectStoragePath(folder_uri, conn_id=conn_id or None)
    shown = without_secrets(source_uri)
    with _told(shown, f"cannot be copied to {folder_uri}"):
        if is_served_as_it_is(source_uri):
            return check_pinned(source_uri), {}
        source = ObjectStoragePath(source_uri.rstrip("/"), conn_id=connection_for(source_uri, folder_uri, conn_id))
        attempt = claim_attempt(store.fs, store.path, mark=run_id, run=run_id)
        target = "/".join(part for part in (folder_uri, attempt, PACKAGE_FOLDER) if part)
        root = ObjectStoragePath(target, conn_id=conn_id or None)
        if root.exists():
            root.fs.rm(root.path, recursive=True)
        return target, {name: _copy(path, root / name) for name, path in _files(source, shown, file_name)}


@contextmanager
def _told(shown: str, what: str) -> Iterator[None]:
    """Tell what is wrong with a model in the words of a release.

    :param shown: where it lies.
    :param what: what cannot be done with it.
    """
    try:
        yield
    except (ModelFilesError, NothingFreeError) as error:
        raise InvalidRequestError(str(error)) from None
    except FileNotFoundError as error:
        raise InvalidRequestError(f"{shown} is not there, though the run has named it as its model.") from error
    except OSError as error:
        raise ServiceUnavailableError(f"{shown} {what}: {reason_of(error)}.") from error
    except (ImportError, ValueError) as error:
        raise InvalidRequestError(f"{shown} {what}: {type(error).__name__}. Airflow needs its provider.") from error


def _files(source: ObjectStoragePath, shown: str, file_name: str | None) -> Iterator[tuple[str, ObjectStoragePath]]:
    if not source.is_dir():
        facts = source.fs.info(source.path)
        name = file_name or source.name
        _refuse_special(facts, shown)
        check_names({name: int(facts.get("size") or 0)}, where=shown)
        yield name, source
        return
    root = source.path.rstrip("/")
    found = source.fs.find(root, detail=True)
    sizes = {path.removeprefix(f"{root}/"): int(facts.get("size") or 0) for path, facts in found.items()}
    for facts in found.values():
        _refuse_special(facts, shown)
    check_names(sizes, where=shown)
    for name in sorted(sizes):
        yield name, source / name


def _refuse_special(facts: dict[str, object], where: str) -> None:
    if facts.get("type") != "file" or facts.get("islink") or facts.get("isLink"):
        raise ModelFilesError(f"{where}: a link or special file is there; a model has plain files only.")


def _copy(source: ObjectStoragePath, target: ObjectStoragePath) -> CopiedFile:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, new_file(target.fs, target.path) as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > MOST_BYTES:  # what was a plain file a moment ago and grows is not followed for ever
                raise ModelFilesError(f"{without_secrets(str(source))} is larger than {MOST_BYTES / 1e9:.0f} GB.")
            digest.update(chunk)
            writer.write(chunk)
    return CopiedFile(sha256=digest.hexdigest(), size_bytes=size)


def _real(place: str) -> str:
    """Return a place that may be read, with what its links lead to; others than files are as they are."""
    if not place.startswith("file://") and ("://" in place or place == EVERYTHING):
        return place
    return f"file://{os.path.realpath(PROJECT_DIR / place.removeprefix('file://'))}"
