"""The folder of a preprocessing in parts: files are copied there whole, and read back from a copy that was checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, TypeVar

from pydantic import BaseModel, ValidationError

from include.classifier.data.parts.documents import FOLDER, PartsPlan, WrittenPart
from include.classifier.data.problems import DataError
from include.classifier.data.sources import as_uri, write_whole
from include.contracts.version.files import new_file

_CHUNK_BYTES = 1 << 20
_PLAN = "plan.json"
_Found = TypeVar("_Found", bound=BaseModel)


class PartsFolder:
    """The folder ``parts`` of a data set.

    :param output_uri: of the data set's folder.
    """

    def __init__(self, output_uri: str) -> None:
        from fsspec.core import url_to_fs

        self.uri = f"{as_uri(output_uri)}/{FOLDER}"
        self._store, self._path = url_to_fs(self.uri)

    def write_plan(self, plan: PartsPlan) -> None:
        """Write the plan; what was read for another one is deleted."""
        self.clear()
        self._write(_PLAN, plan)

    def plan(self) -> PartsPlan:
        """Return the plan.

        :raises DataError: when there is none.
        """
        if plan := self._read(_PLAN, PartsPlan):
            return plan
        raise DataError(f"{self.uri}: holds no plan of what is read. Start preprocessing again.")

    def part(self, number: int, plan: PartsPlan) -> WrittenPart | None:
        """Return what is known of a part, ``None`` where it was not written for this plan."""
        found = self._read(f"{_name(number)}.json", WrittenPart)
        return found if found and found.plan_id == plan.id else None

    def write_part(self, number: int, part: WrittenPart) -> None:
        """Write what vouches for a part's files."""
        self._write(f"{_name(number)}.json", part)

    def put(self, number: int, kind: str, content: IO[bytes]) -> str:
        """Copy a file of a part to the store, and return its SHA-256."""
        content.seek(0)
        with new_file(self._store, f"{self._path}/{_name(number)}.{kind}") as target:
            return _copy(content, target)

    @contextmanager
    def get(self, number: int, kind: str, sha256: str) -> Iterator[IO[bytes]]:
        """Yield a copy of a file of a part.

        :raises DataError: when it is not what was put there.
        """
        path = f"{self._path}/{_name(number)}.{kind}"
        with TemporaryFile() as copy:
            with self._store.open(path, "rb") as source:
                found = _copy(source, copy)
            if found != sha256:
                raise DataError(f"{self.uri}/{_name(number)}.{kind}: was changed. Start preprocessing again.")
            copy.seek(0)
            yield copy

    def clear(self) -> None:
        """Delete it."""
        self._store.invalidate_cache()  # what other steps have written
        if self._store.exists(self._path):
            self._store.rm(self._path, recursive=True)

    def _write(self, name: str, document: BaseModel) -> None:
        write_whole(f"{self.uri}/{name}", document.model_dump_json())

    def _read(self, name: str, kind: type[_Found]) -> _Found | None:
        try:
            with self._store.open(f"{self._path}/{name}", "rb") as file:
                return kind.model_validate_json(file.read())
        except FileNotFoundError:
            return None
        except ValidationError:
            raise DataError(f"{self.uri}/{name}: is not what was written there. Start preprocessing again.") from None


def _name(number: int) -> str:
    return f"part-{number:05}"


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    content = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        target.write(chunk)
        content.update(chunk)
    return content.hexdigest()
