"""Where data comes from: names a source, finds its format and opens it, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Literal
from urllib.parse import urlsplit

from include.classifier.data.problems import DataError, SourceUnavailableError
from include.models import PROJECT_DIR

SplitName = Literal["train", "evaluation"]

HUB_PREFIX = "hub:"
#: Stores and servers that hold the file itself. fsspec knows more: protocols that read whatever file a document names
#: (reference), wrap another address (simplecache) or a file in it (zip). Whoever fills in a form must not reach these.
PROTOCOLS = ("file", "http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
_CHAIN = "::"
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True)
class Source:
    """One entry of ``data.train`` or ``data.evaluation``.

    :param uri: path, URI, or ``hub:owner/name[:split]``; a relative path counts from the project's folder.
    :param split: what its rows are for.
    """

    uri: str
    split: SplitName

    @property
    def name(self) -> str:
        """How messages and documents call it: without user, password and query, which may be secrets."""
        return _CHAIN.join(_without_secrets(address) for address in self.uri.split(_CHAIN))

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(urlsplit(self.uri).path if "://" in self.uri else self.uri)

    @property
    def _compression(self) -> str | None:
        return _COMPRESSIONS.get(self._path.suffix)

    @property
    def format(self) -> str:
        """``hub``, or what the file's name says: ``csv``, ``tsv``, ``jsonl`` or ``parquet``.

        :raises DataError: when the name does not tell.
        """
        if self.uri.startswith(HUB_PREFIX):
            return "hub"
        suffix = PurePosixPath(self._path.stem).suffix if self._compression else self._path.suffix
        if suffix.lower() not in _FORMATS:
            raise DataError(
                f"{self.name}: the name does not tell the format. Use one of {', '.join(_FORMATS)} "
                f"(compressed: {', '.join(_COMPRESSIONS)}), or {HUB_PREFIX}owner/name for a Hub data set."
            )
        return _FORMATS[suffix.lower()]

    def place(self, number: int) -> str:
        """Return how a person finds a row: the line of a text file, the index that pandas shows for a table."""
        return f"{'row index' if self.format in ('parquet', 'hub') else 'line'} {number}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the file for reading; what lies elsewhere is fetched as a whole first.

        :raises DataError: when it is not there, may not be read, or is no address of :data:`PROTOCOLS`.
        :raises SourceUnavailableError: when its store or server does not hand it out.
        """
        import fsspec

        self._check_address()
        with TemporaryDirectory(prefix="source-") as folder:
            try:
                path = self._fetched(folder)
                handle = fsspec.open(path, "rb", compression=self._compression).open()
            except Exception as error:  # each kind of store has its own exceptions
                raise _explained(self.name, error) from None  # a traceback would show the address
            with handle:
                yield handle

    def _check_address(self) -> None:
        protocol = as_uri(self.uri).partition("://")[0]
        if _CHAIN in self.uri or protocol not in PROTOCOLS:
            raise DataError(
                f"{self.name}: is not read from there. Use a path, or one address that begins with "
                f"{', '.join(f'{name}://' for name in PROTOCOLS)}; a copy at such a place will do."
            )

    def _fetched(self, folder: str) -> str:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        filesystem, path = url_to_fs(as_uri(self.uri))
        if isinstance(filesystem, LocalFileSystem):
            return path
        # As a whole: a connection that breaks off must not look like a file that ends early.
        target = f"{folder}/fetched"
        filesystem.get_file(path, target)
        return target


def _without_secrets(address: str) -> str:
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _explained(name: str, error: Exception) -> DataError | SourceUnavailableError:
    """Say what an exception means: its own words may hold an address with a token in it."""
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return DataError(f"{name}: not found. Check the path; a relative one counts from {PROJECT_DIR}.")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{name}: is a folder. Name the files in it.")
    if isinstance(error, PermissionError) or status in (401, 403, 410):
        return DataError(f"{name}: reading it is not allowed. Check its permissions, or the credentials for it.")
    if isinstance(error, ValueError | ImportError):  # from fsspec, which knows the protocol only with its package
        return DataError(
            f"{name}: cannot be opened. Check the address, and that the package for its protocol is there."
        )
    reason = f"HTTP status {status}" if status else type(error).__name__
    return SourceUnavailableError(f"{name}: could not be fetched ({reason}); worth another try.")


def as_uri(location: str | Path) -> str:
    """Return a URI without a slash at its end; a relative path counts from the project's folder."""
    location = str(location)
    return (location if "://" in location else (PROJECT_DIR / location).as_uri()).rstrip("/")
