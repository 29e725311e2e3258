"""The folder that the states of a training are kept in.

``checkpoint.json``
    says which states there are, the newest first, of what training they are, and which start of it goes on.
``step-….pt``
    a state. Two are kept: the one before the newest is for when that cannot be read.
``finished.json``, ``finished-…/``
    the trained model, with what is known of its training: whoever starts again takes it from here.
``failed.json``
    why this step came to nothing, where no new try of it can end otherwise.

Each file is written beside its place and moved there; the document comes last. An object store has a file as a whole or
not at all, so there it is written to its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from include.classifier.data.sources import as_uri
from include.classifier.progress import first_line, report
from include.contracts.rules.addresses import without_secrets
from include.contracts.version.files import new_file

#: In the folder of a version.
CHECKPOINTS_FOLDER = "checkpoints"

_STATES, _FINISHED, _FAILED = "checkpoint.json", "finished.json", "failed.json"
_KEPT = 2
_CHUNK_BYTES = 1 << 22
_MOST_DOCUMENT_BYTES = 1 << 20
_OURS = re.compile(
    r"\.?(step-[0-9]+-[0-9a-f]{8}\.pt|finished-[0-9a-f]{8}|(checkpoint|finished|failed)\.json)(\.[0-9a-f]{8})?"
)


class CheckpointError(RuntimeError):
    """The state of a training cannot be read or written."""


class TakenOverError(RuntimeError):
    """Another start of the same training goes on; this one must not."""


class State(BaseModel):
    """A state that was written."""

    file: Annotated[str, StringConstraints(pattern=r"^step-[0-9]{1,12}-[0-9a-f]{8}\.pt$")]
    sha256: str
    step: Annotated[int, Field(ge=1)]
    epoch: float
    seconds: float = Field(description="That the training has computed for until then, over all starts")
    written_at: str


class _States(BaseModel):
    identity: dict[str, str]
    start: str = Field(description="Which start of the training goes on: drawn by each")
    began_at: list[int] = Field(description="Steps that the starts have gone on from, the first from 0")
    tracking_run_id: str | None = None
    kept: list[State] = []


class _Finished(BaseModel):
    identity: dict[str, str]
    folder: Annotated[str, StringConstraints(pattern=r"^finished-[0-9a-f]{8}$")]
    files: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")], str]
    facts: dict[str, Any]
    tracking_run_id: str | None = None


class _Failed(BaseModel):
    identity: dict[str, str]
    step: str
    message: str


class Checkpoints:
    """What is kept of one training.

    :param uri: the folder.
    :param identity: what the training is: name -> digest or version. A state of another one is not gone on with.
    :param every_seconds: how often a state is to be written.
    """

    def __init__(self, uri: str, identity: Mapping[str, str], *, every_seconds: float) -> None:
        from fsspec.core import url_to_fs

        self.uri = as_uri(uri)
        self.identity = dict(identity)
        self.every_seconds = every_seconds
        self.tracking_run_id: str | None = None
        self._store, self._path = url_to_fs(self.uri)
        self._states = self._begun_anew()
        #: Of an earlier start; what another one writes at this moment is not this one's to delete.
        self._old: set[str] = set()
        self._is_claimed = False

    @property
    def began_at(self) -> list[int]:
        """Steps that the starts of this training have gone on from, this one last."""
        return self._states.began_at

    def finished(self, model_dir: Path) -> dict[str, Any] | None:
        """Put a model that is trained already into a folder, and return what is known of its training.

        :return: ``None`` when there is none of this training.
        """
        found = self._read(_Finished, _FINISHED)
        if found is None or not self._is_this(found.identity, "The model"):
            return None
        model_dir.mkdir(parents=True, exist_ok=True)
        try:
            for name, sha256 in found.files.items():
                self._fetch(f"{found.folder}/{name}", model_dir / name, sha256)
        except CheckpointError as error:
            report(f"train: {error}; it is trained anew")
            return None
        self.tracking_run_id = found.tracking_run_id
        return found.facts

    def look(self) -> bool:
        """Tell whether there is a state of this training to go on from, and know its run of the tracking server."""
        found = self._read(_States, _STATES)
        self._old = set(self._names())
        if found is None:
            return False
        if not self._is_this(found.identity, "The state"):
            self._delete(self._old)
            return False
        self._states = found
        self.tracking_run_id = found.tracking_run_id
        return bool(found.kept)

    def take_over(self, folder: Path) -> tuple[State, Path] | None:
        """Go on with the training in the place of every earlier start, and fetch its newest state that is whole.

        :param folder: gets the file.
        :return: ``None`` when there is none.
        """
        if not self.look():
            return None
        for state in self._states.kept:
            try:
                target = self.fetch(state, folder)
            except CheckpointError as error:
                report(f"train: {error}; trying the state before it")
                continue
            began_at = [*self._states.began_at, state.step]
            self._states = self._states.model_copy(update={"start": uuid4().hex, "began_at": began_at})
            self._claim()
            return state, target
        report("train: no state can be read, so the training begins anew")
        self._states = self._begun_anew()
        return None

    def fetch(self, state: State, folder: Path) -> Path:
        """Fetch a state that another process of the same training has taken over, and return the file.

        :param folder: gets it.
        :raises CheckpointError: when it is not there, or not whole.
        """
        target = folder / "state.pt"
        self._fetch(state.file, target, state.sha256)
        return target

    def save(self, file: Path, *, step: int, epoch: float, seconds: float) -> None:
        """Keep a state.

        :param file: on this machine.
        :param seconds: that the training has computed for.
        :raises TakenOverError: when another start goes on.
        """
        self._check_claim()
        name = f"step-{step}-{uuid4().hex[:8]}.pt"
        state = State(
            file=name,
            sha256=self._put(file, name),
            step=step,
            epoch=epoch,
            seconds=seconds,
            written_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        gone = {each.file for each in self._states.kept[_KEPT - 1 :]} | self._old - {_STATES}
        self._states.kept = [state, *self._states.kept][:_KEPT]
        self._states.tracking_run_id = self.tracking_run_id
        self._claim()
        self._delete(gone - {each.file for each in self._states.kept})
        self._old = set()

    def finish(self, model_dir: Path, facts: Mapping[str, Any]) -> None:
        """Keep the trained model in the place of the states.

        :param facts: about its training.
        :raises TakenOverError: when another start goes on.
        """
        self._check_claim()
        folder = f"finished-{uuid4().hex[:8]}"
        files = {path.name: self._put(path, f"{folder}/{path.name}") for path in sorted(model_dir.iterdir())}
        document = _Finished(
            identity=self.identity,
            folder=folder,
            files=files,
            facts=dict(facts),
            tracking_run_id=self.tracking_run_id,
        )
        self._write(_FINISHED, document)
        self._delete(set(self._names()) - {_FINISHED, folder})

    def fail(self, step: str, message: str) -> None:
        """Keep why a step of a pipeline has failed, for its new tries; a store that takes nothing is told and no more.

        :param step: what all tries of the step have in common, and no other step has.
        """
        try:
            self._write(_FAILED, _Failed(identity=self.identity, step=step, message=message))
        except Exception as error:  # each kind of store has its own
            report(f"train: the next try will not know of this ({first_line(error)})")

    def failed(self, step: str) -> str | None:
        """Return why an earlier try of a step has failed for good, ``None`` where it has not."""
        found = self._read(_Failed, _FAILED)
        return found.message if found and (found.identity, found.step) == (self.identity, step) else None

    def is_kept(self) -> bool:
        """Whether this start or an earlier one has written a state."""
        return bool(self._states.kept)

    def _begun_anew(self) -> _States:
        return _States(identity=self.identity, start=uuid4().hex, began_at=[0])

    def _is_this(self, identity: Mapping[str, str], what: str) -> bool:
        names = [name for name in {**self.identity, **identity} if self.identity.get(name) != identity.get(name)]
        if names:
            report(
                f"train: {what} in {without_secrets(self.uri)} is of a training with other "
                f"{' and '.join(sorted(names))}, so this one begins anew"
            )
        return not names

    def _claim(self) -> None:
        self._write(_STATES, self._states)
        self._is_claimed = True

    def _check_claim(self) -> None:
        found = self._read(_States, _STATES)
        ours = found is None or found.start == self._states.start
        # Before its first state a start has claimed nothing: what was there when it began is what it has replaced.
        if not ours and (self._is_claimed or _STATES not in self._old):
            raise TakenOverError(
                f"Another start of this training goes on in {without_secrets(self.uri)}: this one ends, so that no "
                "step is trained twice."
            )

    def _read(self, kind: type[Any], name: str) -> Any:
        self._store.invalidate_cache()
        try:
            with self._store.open(f"{self._path}/{name}", "rb") as file:
                return kind.model_validate_json(file.read(_MOST_DOCUMENT_BYTES))
        except FileNotFoundError:
            return None
        except (ValidationError, ValueError) as error:
            report(f"train: {name} in {without_secrets(self.uri)} cannot be read ({first_line(error)[:200]})")
            return None

    def _write(self, name: str, document: BaseModel) -> None:
        self._put_chunks(name, iter([document.model_dump_json(indent=2).encode()]))

    def _fetch(self, name: str, target: Path, sha256: str) -> None:
        digest = hashlib.sha256()
        try:
            with self._store.open(f"{self._path}/{name}", "rb") as source, target.open("wb") as file:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        except FileNotFoundError:
            raise CheckpointError(f"{name} is not in {without_secrets(self.uri)}") from None
        if digest.hexdigest() != sha256:
            raise CheckpointError(f"{name} in {without_secrets(self.uri)} is not what was written there")

    def _put(self, file: Path, name: str) -> str:
        digest = hashlib.sha256()

        def chunks() -> Iterator[bytes]:
            with file.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    yield chunk

        self._put_chunks(name, chunks())
        return digest.hexdigest()

    def _put_chunks(self, name: str, chunks: Iterator[bytes]) -> None:
        folder, _, last = f"{self._path}/{name}".rpartition("/")
        is_local = "file" in self._store.protocol
        written = f"{folder}/.{last}.{uuid4().hex[:8]}" if is_local else f"{folder}/{last}"
        with new_file(self._store, written) as file:
            for chunk in chunks:
                file.write(chunk)
            if is_local:
                file.flush()
                os.fsync(file.fileno())
        if is_local:
            Path(written).replace(f"{folder}/{last}")
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _names(self) -> list[str]:
        try:
            found = self._store.ls(self._path, detail=False)
        except FileNotFoundError:
            return []
        names = [str(path).rstrip("/").rpartition("/")[2] for path in found]
        return [name for name in names if _OURS.fullmatch(name)]

    def _delete(self, names: set[str]) -> None:
        for name in sorted(names):
            with suppress(FileNotFoundError):
                self._store.rm(f"{self._path}/{name}", recursive=True)


def remove(folder_uri: str) -> None:
    """Delete what a training has kept in the folder of a version whose candidate is made.

    What cannot be deleted stays until retention deletes the version, and is told.
    """
    from fsspec.core import url_to_fs

    store, path = url_to_fs(f"{as_uri(folder_uri)}/{CHECKPOINTS_FOLDER}")
    try:
        if store.exists(path):
            store.rm(path, recursive=True)
    except Exception as error:  # each kind of store has its own exceptions
        report(f"train: {without_secrets(folder_uri)}/{CHECKPOINTS_FOLDER} stays ({first_line(error)})")


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
