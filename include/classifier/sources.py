"""Where data comes from: names a source, finds its format and opens it, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal
from urllib.parse import urlsplit

from include.classifier.problems import DataError, SourceUnavailableError
from include.models.model_config import PROJECT_DIR

SplitName = Literal["train", "evaluation"]

HUB_PREFIX = "hub:"
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
        if "://" not in self.uri:
            return self.uri
        parts = urlsplit(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

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

        :raises DataError: when it is not there or may not be read.
        :raises SourceUnavailableError: when its store or server does not hand it out.
        """
        with self._errors_named():
            handle = _open(self.uri, self._compression)
        with handle:
            yield handle

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DataError(
                f"{self.name}: not found. Check the path; a relative one counts from {PROJECT_DIR}."
            ) from None
        except IsADirectoryError:
            raise DataError(f"{self.name}: is a folder. Name the files in it.") from None
        except PermissionError:
            raise DataError(f"{self.name}: reading it is not allowed. Check its permissions or credentials.") from None
        except (ValueError, ImportError) as error:  # fsspec: unknown protocol, or one whose package is not installed
            raise DataError(f"{self.name}: cannot be opened: {error}.") from error
        except Exception as error:  # each kind of store has its own exceptions
            status = getattr(error, "status", None)
            reason = type(error).__name__ + (f", HTTP status {status}" if status else "")
            if status in (401, 403, 410):
                raise DataError(
                    f"{self.name}: the server refuses it ({reason}). Check address and credentials."
                ) from None
            raise SourceUnavailableError(f"{self.name}: could not be fetched ({reason}); worth another try.") from error


def _open(uri: str, compression: str | None) -> IO[bytes]:
    import fsspec

    uri = as_uri(uri)
    if not uri.startswith("file://"):
        uri = f"simplecache::{uri}"  # a connection that breaks off must not look like a file that ends early
    opened: Any = fsspec.open(uri, "rb", compression=compression)
    handle: IO[bytes] = opened.open()
    return handle


def as_uri(location: str | Path) -> str:
    """Return the URI of a folder or file without a slash at its end; a relative path counts from the project's folder."""
    location = str(location)
    return (location if "://" in location else (PROJECT_DIR / location).as_uri()).rstrip("/")
