"""The folder that predictions are written to: who may write there, and which shards are done."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from include.classifier.data.problems import DataError
from include.classifier.data.sources import PROTOCOLS, as_uri, explained, write_whole
from include.contracts.batch.documents import PLAN, PREDICTIONS, SUCCESS, Plan, Predictions, Receipt, WrittenFile
from include.contracts.batch.settings import refused_output
from include.contracts.documents import Document, DocumentError
from include.contracts.rules.addresses import without_secrets
from include.contracts.rules.allowed_sources import EVERYTHING
from include.contracts.uris import file_uri, from_outside, local_path
from include.contracts.version.files import SHARED_FILE_MODE, hand_on, make_folder

#: What is written here; hidden files are on their way to their place.
_OURS = re.compile(
    r"\.?(plan|predictions)\.json|shards/\.?[0-9]{5}\.json|predictions/\.?_SUCCESS"
    r"|(predictions|rejected)/\.?part-[0-9]{5}\.parquet(\.[0-9a-f]{32})?"
)
_CHUNK_BYTES = 1 << 20
_MOST_DOCUMENT_BYTES = 64 << 20


class Output:
    """One folder.

    :param uri: path or URI; a relative path counts from the project's folder.
    """

    def __init__(self, uri: str) -> None:
        from fsspec.core import url_to_fs

        self.uri = as_uri(from_outside(uri))
        self.name = without_secrets(self.uri)
        if self.uri.partition("://")[0] not in set(PROTOCOLS) - {"http", "https"} or "::" in self.uri:
            raise DataError(f"{self.name}: nothing can be written there. Name a folder, or a store such as s3://.")
        try:
            self._store, self._path = url_to_fs(self.uri)
        except Exception as error:  # each kind of store has its own exceptions
            raise explained(self.name, error) from None

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.uri.startswith("file:")

    def check(self, allowed: Sequence[str], *, data_uri: str) -> None:
        """Make sure that whoever named it may have it written, and that nothing of others lies there.

        :param allowed: see :func:`include.contracts.batch.settings.refused_output`.
        :param data_uri: what is read; the output must not become a part of it.
        :raises DataError: saying why not.
        """
        if refusal := refused_output(self.uri, allowed):
            raise DataError(refusal)
        if self.is_local and EVERYTHING not in allowed:
            # A link in the folder may lead elsewhere than its name says.
            real = [entry if "://" in entry else os.path.realpath(entry) for entry in map(_as_path, allowed)]
            if refusal := refused_output(file_uri(os.path.realpath(self._path)), real):
                raise DataError(refusal)
        if f"{self.uri}/".startswith(f"{as_uri(from_outside(data_uri))}/"):
            raise DataError(f"{self.name}: lies in the input, and would be a part of it. Choose a folder beside it.")
        if foreign := sorted(name for name in self.names() if not _OURS.fullmatch(name)):
            raise DataError(
                f"{self.name}: holds other files ({foreign[0]!r}{' and more' if len(foreign) > 1 else ''}). Choose an "
                "empty folder."
            )

    def names(self) -> list[str]:
        """Return the files that lie in the folder, and in those below it."""
        try:
            self._store.invalidate_cache()
            found = self._store.find(self._path)
        except Exception as error:  # each kind of store has its own exceptions
            raise explained(self.name, error) from None
        return [path.removeprefix(f"{self._path}/") for path in found]

    def plan(self) -> Plan | None:
        """Return the plan that is carried out here, if there is one.

        :raises DataError: when it cannot be read.
        """
        return self._document(Plan, PLAN)

    def predictions(self) -> Predictions | None:
        """Return how it ended, if it has."""
        return self._document(Predictions, PREDICTIONS)

    def receipt(self, shard: int, plan: Plan) -> Receipt | None:
        """Return what vouches for a shard; ``None`` where it has to be scored, once more if need be."""
        try:
            found = self._document(Receipt, receipt_name(shard))
        except DataError:  # half of one, or another's
            return None
        if found is None or (found.plan_sha256, found.shard) != (plan.sha256, shard):
            return None
        if [file.file for file in found.files] != [predictions_name(shard), rejected_name(shard)][: len(found.files)]:
            return None
        return found if all(self._is_whole(file) for file in found.files) else None

    def write(self, document: Document) -> None:
        """Write a document so that a reader sees all of it or nothing."""
        name = receipt_name(document.shard) if isinstance(document, Receipt) else document.file
        uri = f"{self.uri}/{name}"
        write_whole(uri, type(document).dump(document.model_dump(mode="json"), where=uri))

    def succeed(self) -> None:
        """Leave the file by which Spark and its like know that everything is there; take away what was left over."""
        write_whole(f"{self.uri}/{SUCCESS}", "")
        for name in self.names():
            if name.rpartition("/")[2].startswith("."):
                with suppress(FileNotFoundError):
                    self._store.rm_file(f"{self._path}/{name}")

    @contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """Yield a path to write to; what stands there at the end gets its name at once, none on an error."""
        if not self.is_local:
            with tempfile.TemporaryDirectory(prefix="predict-") as folder:
                yield Path(folder, "file")
                self._store.put_file(str(Path(folder, "file")), f"{self._path}/{name}")
            return
        target = Path(self._path, name)
        make_folder(self._store, str(target.parent))
        path = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            yield path
            with path.open("rb") as file:
                os.fsync(file.fileno())  # its receipt must not outlive it
            if target.parent.stat().st_mode & stat.S_ISGID:
                with suppress(OSError):
                    hand_on(path, SHARED_FILE_MODE)
            path.replace(target)
        finally:
            path.unlink(missing_ok=True)

    def _document(self, kind: Any, name: str) -> Any:
        try:
            self._store.invalidate_cache()
            with self._store.open(f"{self._path}/{name}", "rb") as file:
                content = file.read(_MOST_DOCUMENT_BYTES)
            return kind.parse(content.decode(), where=f"{self.name}/{name}")
        except FileNotFoundError:
            return None
        except (DocumentError, UnicodeDecodeError) as error:
            raise DataError(f"{self.name}/{name}: is no document of a batch prediction ({error}).") from None
        except Exception as error:  # each kind of store has its own exceptions
            raise explained(self.name, error) from None

    def _is_whole(self, written: WrittenFile) -> bool:
        try:
            with self._store.open(f"{self._path}/{written.file}", "rb") as file:
                digest = hashlib.sha256()
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except FileNotFoundError:
            return False
        except Exception as error:  # each kind of store has its own exceptions
            raise explained(self.name, error) from None
        return digest.hexdigest() == written.sha256


def predictions_name(shard: int) -> str:
    """Return the file with the predictions of a shard, below the folder of the output."""
    return f"predictions/part-{shard:05d}.parquet"


def rejected_name(shard: int) -> str:
    """Return the file with its rejected rows, which is there where there are any."""
    return f"rejected/part-{shard:05d}.parquet"


def receipt_name(shard: int) -> str:
    """Return the file that vouches for both."""
    return f"shards/{shard:05d}.json"


def _as_path(entry: str) -> str:
    return local_path(entry) if entry.startswith("file:") else entry
