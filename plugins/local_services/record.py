"""What a server of models has to bring back when it is started again: written to one file, changed under one lock."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from include.contracts.version.runtimes import UNNAMED_RUNTIME
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import ModelVersion

#: Names end up in URLs and file names.
NAME = r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$"
VERSION = r"^[0-9]{14}$"
SHA256 = r"^[0-9a-f]{64}$"

#: Thousands of versions.
_MAX_BYTES = 4_000_000
#: TorchServe's numbers have 32 bits.
_LARGEST_NUMBER = 2_000_000_000


class BrokenRecordError(ServiceUnavailableError):
    """The file is not what :meth:`Record.write` writes; the message says where and how."""


@dataclass(slots=True, kw_only=True)
class StoredVersion:
    """One version as it was deployed.

    :param archive: file name in the model store, see :func:`archive_name`.
    :param sha256: its digest when it was copied.
    :param settings: ``serving`` section of the model's YAML at that time.
    """

    archive: str
    sha256: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ServedModel:
    """One model.

    :param live: the version that users reach, ``None`` before the first promotion.
    :param previous: the version that was live before, kept warm.
    :param versions: every version in the model store.
    :param is_live_known: False when the record was lost while nothing was running that could tell.
    """

    live: str | None = None
    previous: str | None = None
    versions: dict[str, StoredVersion] = field(default_factory=dict)
    is_live_known: bool = True

    def make_live(self, version: str | None) -> None:
        """Note what users reach from now on."""
        self.live, self.is_live_known = version, True


def check_names(model: str, version: str) -> None:
    """Make sure that names fit an address and a file.

    :raises InvalidRequestError: naming the one that does not.
    """
    if not re.fullmatch(NAME, model):
        raise InvalidRequestError(f"Model name {model!r}: use lower-case letters, digits and hyphens, 48 at most.")
    if not re.fullmatch(VERSION, version):
        raise InvalidRequestError(f"Version {version!r} of {model}: expected 14 digits, such as 20261121030000.")


def check_runtime(candidate: ModelVersion, served: str, *, remedy: str) -> None:
    """Make sure that a version is to be served with what is here: it was judged on that and on nothing else.

    :param served: the ``serving.runtime`` that is here.
    :param remedy: type of the connections for the other one.
    :raises InvalidRequestError: when it is another one.
    """
    asked = candidate.settings.get("runtime") or UNNAMED_RUNTIME
    if asked != served:
        raise InvalidRequestError(
            f"{candidate.model} {candidate.version} is for `serving.runtime: {asked}`, and this connection serves with "
            f"`{served}`. Name a connection of type `{remedy}` under `connections.serving` of the model's YAML, or "
            "release a version for this one."
        )


def archive_name(model: str, version: str, suffix: str = ".mar") -> str:
    """Return the name of a version's archive in the model store.

    :param suffix: of a file; a folder has none.
    """
    return f"{model}-{version}{suffix}"


def split_name(name: str) -> tuple[str, str] | None:
    """Return model and version of the name of an archive without its suffix; ``None`` when it is no such name."""
    model, _, version = name.rpartition("-")
    return (model, version) if re.fullmatch(NAME, model) and re.fullmatch(VERSION, version) else None


def record_file(state_dir: Path) -> Path:
    """Return the file of a state folder."""
    return state_dir / "live.json"


class Record:
    """The file of one state folder.

    :param state_dir: its folder; made when it is absent.
    :param suffix: see :func:`archive_name`.
    """

    def __init__(self, state_dir: Path, *, suffix: str = ".mar") -> None:
        self._path = record_file(state_dir)
        self._suffix = suffix

    def read(self) -> dict[str, ServedModel]:
        """Return every model by name; empty before the first deployment.

        :raises BrokenRecordError: when the file is anything else than what was written.
        :raises ServiceUnavailableError: when it cannot be read.
        """
        try:
            return _parsed(self._text(), self._suffix)
        except FileNotFoundError:
            if self._kept():  # whoever made a new one was killed before it was there
                raise self._broken("it is gone") from None
            return {}
        except OSError as error:
            raise ServiceUnavailableError(f"{self._path} cannot be read: {error.strerror or error}.") from error
        except ValidationError as error:
            raise self._broken(first_problem(error)) from None

    def model(self, name: str) -> ServedModel:
        """Return one model; an empty one when it was never deployed."""
        return self.read().get(name, ServedModel())

    def write(self, name: str, model: ServedModel) -> None:
        """Put a model into the file, or take it out when it has no version left. The caller holds the lock.

        :raises InvalidRequestError: for what could not be read again.
        """
        models = self.read()
        if model.versions:
            models[name] = model
        else:
            models.pop(name, None)
        self._write(models)

    def replace_broken(self, models: dict[str, ServedModel]) -> Path:
        """Keep a file that cannot be read beside the new one, and return where. The caller holds the lock."""
        if os.path.lexists(self._path):
            kept = self._path.with_name(f"{self._path.name}.broken-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
            self._path.rename(kept)  # a link itself, and not what it leads to
        self._write(models)
        return self._kept()[-1]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from starting the server or changing a model meanwhile.

        The kernel lets go of the lock when its holder dies, however it dies.

        :raises ServiceUnavailableError: when something cannot be written meanwhile; the message says where.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self._path.parent / "lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise ServiceUnavailableError(
                f"{error.filename or self._path.parent}: {error.strerror or error}. Make room there, or let this user "
                "write to it; what is tried again goes on where this stopped."
            ) from error

    def _text(self) -> bytes:
        """Return what stands in the file; nothing but a plain file is read, and no link followed."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._broken("it is a link") from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._broken("it is no plain file")
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise self._broken(f"it has more than {_MAX_BYTES} bytes")
        return text

    def _write(self, models: dict[str, ServedModel]) -> None:
        text = json.dumps({"models": {key: asdict(value) for key, value in models.items()}}, indent=2, sort_keys=True)
        try:
            _parsed(text, self._suffix)
        except ValidationError as error:
            raise InvalidRequestError(f"The server cannot be told this: {first_problem(error)}.") from None
        part = self._path.with_suffix(".part")
        part.unlink(missing_ok=True)
        with part.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave an empty record behind the new name
        part.replace(self._path)

    def _kept(self) -> list[Path]:
        return sorted(self._path.parent.glob(f"{self._path.name}.broken-*"))

    def _broken(self, how: str) -> BrokenRecordError:
        return BrokenRecordError(f"{self._path}, which says what is live, cannot be read: {how}.")


# The file as it is read. It decides which archives are loaded, and names come out of it as paths and addresses.


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class VersionSettings(_Strict):
    """The settings of a version, as far as a server goes by them."""

    model_config = ConfigDict(extra="allow")

    workers: Annotated[int, Field(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Field(ge=1, le=_LARGEST_NUMBER)] = 1
    max_batch_delay_ms: Annotated[int, Field(ge=0, le=_LARGEST_NUMBER)] = 0
    response_timeout_seconds: Annotated[int, Field(ge=1, le=_LARGEST_NUMBER)] = 1


class _Stored(_Strict):
    archive: str
    sha256: Annotated[str, Field(pattern=SHA256)]
    settings: VersionSettings = VersionSettings()


class _Model(_Strict):
    live: str | None
    previous: str | None
    versions: dict[Annotated[str, Field(pattern=VERSION)], _Stored]
    is_live_known: bool = True

    def served(self) -> ServedModel:
        versions = {
            name: StoredVersion(
                archive=stored.archive,
                sha256=stored.sha256,
                settings=stored.settings.model_dump(exclude_unset=True),
            )
            for name, stored in self.versions.items()
        }
        previous = self.previous if self.previous in versions else None
        return ServedModel(live=self.live, previous=previous, versions=versions, is_live_known=self.is_live_known)


class _Document(_Strict):
    models: dict[Annotated[str, Field(pattern=NAME)], _Model]

    @model_validator(mode="after")
    def _names_what_it_has(self, info: ValidationInfo) -> Self:
        for name, model in self.models.items():
            if model.live is not None and model.live not in model.versions:
                raise ValueError(f"{name}: the live version is not among its versions")
            for version, stored in model.versions.items():
                expected = archive_name(name, version, str(info.context))
                if stored.archive != expected:
                    raise ValueError(f"{name} {version}: its archive is not {expected}")
        return self


def _parsed(text: bytes | str, suffix: str) -> dict[str, ServedModel]:
    document = _Document.model_validate_json(text, context=suffix)
    return {name: model.served() for name, model in document.models.items()}


def first_problem(error: ValidationError) -> str:
    """Return where the first problem is, and which, without the value that stands there."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part)[:60] for part in first['loc']) or 'the document'}: {first['msg']}"
