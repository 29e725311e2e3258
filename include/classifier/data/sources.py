"""Where data comes from: names a source, finds its format and opens it, wherever it lies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal

from include.classifier.data.bounds import check_plain
from include.classifier.data.formats.content import open_content
from include.classifier.data.problems import DataError, SourceUnavailableError
from include.classifier.data.reach import check_file, check_reach, web_options
from include.contracts.rules.addresses import parsed, without_secrets
from include.contracts.rules.allowed_sources import is_as_named
from include.contracts.uris import file_uri, from_outside
from include.contracts.version.files import write_file
from include.models import PROJECT_DIR

SplitName = Literal["train", "evaluation"]

HUB_PREFIX = "hub:"
#: Stores and servers that hold the file itself. fsspec knows more: protocols that read whatever file a document names
#: (reference), wrap another address (simplecache) or a file in it (zip). Whoever fills in a form must not reach these.
PROTOCOLS = ("file", "http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
_CHAIN = "::"
#: What an address may be made of (RFC 3986).
_ADDRESS = re.compile(r"[!#-;=?-Z_a-z~\[\]]+")
_PACKAGES = dict.fromkeys(("s3", "s3a"), "s3fs") | dict.fromkeys(("gs", "gcs"), "gcsfs")
_PACKAGES |= dict.fromkeys(("az", "abfs", "abfss"), "adlfs")
#: Of botocore and Google's clients, which are there only with their packages.
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
_COMPRESSIONS = (".gz", ".bz2", ".xz")
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "xlsx",
}
#: Folders of texts, by their labels; see :mod:`include.classifier.data.formats.class_folders`.
CLASS_FOLDERS = "class folders"
#: Tables of Delta Lake, see :mod:`include.classifier.data.formats.delta`.
DELTA = "delta"
_PLACES = {
    **dict.fromkeys(("parquet", "hub", DELTA), "row index"),
    "xlsx": "row",
    CLASS_FOLDERS: "text file",
}


@dataclass(frozen=True)
class Source:
    """One entry of ``data.train`` or ``data.evaluation``.

    :param uri: path, URI, or ``hub:owner/name[:split]``, ``hub:owner/name:configuration:split``; a relative path counts
        from the project's folder, and one that exists is taken as it is written.
    :param split: what its rows are for.
    :param allowed: what a form may name, see :mod:`include.contracts.rules.allowed_sources`; ``None``: it is trusted.
    :param found: its format where that was found by looking: the name of a folder tells none.
    :param version: of a table that keeps its versions.
    :param named: the name of the dated source that it is one address of.
    :param shown: how messages call it, where it is a copy.
    """

    uri: str
    split: SplitName
    allowed: Sequence[str] | None = None
    found: str | None = None
    version: int | None = None
    named: str | None = None
    shown: str | None = None

    @property
    def name(self) -> str:
        """How messages and documents call it: without user, password and query, which may be secrets."""
        return self.shown or without_secrets(self.uri)

    @property
    def _path(self) -> PurePosixPath:
        # A store's keys may hold what ends the path of a web address.
        if self.is_web_address:
            return PurePosixPath(parsed(self.uri).path)
        return PurePosixPath(self.uri.partition("://")[2] or self.uri)

    @property
    def is_web_address(self) -> bool:
        """Whether it is fetched by HTTP."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def is_local(self) -> bool:
        """Whether it is a file of this machine."""
        return as_uri(self.uri).startswith("file:")

    @property
    def format(self) -> str:
        """``hub``, what was found, or what the file's name says: ``csv``, ``tsv``, ``jsonl``, ``parquet`` or ``xlsx``.

        :raises DataError: when the name does not tell.
        """
        if self.found:
            return self.found
        if self.uri.startswith(HUB_PREFIX):
            return "hub"
        if (found := format_of(self._path)) is None:
            raise DataError(
                f"{self.name}: the name does not tell the format. Use one of {', '.join(_FORMATS)} "
                f"(compressed: {', '.join(_COMPRESSIONS)}), or {HUB_PREFIX}owner/name for a Hub data set."
            )
        return found

    def part(self, uri: str) -> Source:
        """Return one of the addresses that it stands for: who has named it has named them all."""
        is_named = self.allowed is not None and is_as_named(self.uri, self.allowed)
        return replace(self, uri=uri, allowed=(*(self.allowed or ()), uri) if is_named else self.allowed)

    def place(self, number: int) -> str:
        """Return how a person finds a row: the line of a text file, the index that pandas shows for a table."""
        return f"{_PLACES.get(self.format, 'line')} {number}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the file for reading; what lies elsewhere is fetched as a whole first.

        :raises DataError: when it is not there, may not be read, or is no address of :data:`PROTOCOLS`.
        :raises SourceUnavailableError: when its store or server does not hand it out.
        """
        with TemporaryDirectory(prefix="source-") as folder:
            try:
                path = self._fetched(folder)
                check_plain(path, self.name)
                handle = open_content(path, self.name, is_table=format_of(self._path) == "parquet")
            except Exception as error:  # each kind of store has its own exceptions
                raise explained(self.name, error) from None  # a traceback would show the address
            with handle:
                yield handle

    @contextmanager
    def on_this_machine(self) -> Iterator[Source]:
        """Yield it as a plain file of this machine, for whoever reads it more than once.

        :raises DataError: as :meth:`open`.
        :raises SourceUnavailableError: as :meth:`open`.
        """
        with TemporaryDirectory(prefix="source-") as folder:
            try:
                path = self._fetched(folder)
                check_plain(path, self.name)
                Path(path).open("rb").close()
            except Exception as error:  # each kind of store has its own exceptions
                raise explained(self.name, error) from None  # a traceback would show the address
            yield replace(self, uri=path, allowed=None, found=self.format, shown=self.name)

    def check_reach(self) -> None:
        """Make sure that whoever named it may have it read.

        :raises DataError: when a form names what it may not.
        """
        if self.allowed is not None:
            check_reach(self.uri, self.name, self.allowed)

    def filesystem(self) -> tuple[Any, str]:
        """Return the file system of fsspec that it lies in, and its path there.

        :raises DataError: when it is no address of :data:`PROTOCOLS`, or cannot be opened.
        """
        self._check_address()
        try:
            filesystem, path = self._opened()
        except Exception as error:  # each kind of store has its own exceptions
            raise explained(self.name, error) from None  # a traceback would show the address
        if self.is_local and self.allowed is not None:
            check_file(path, self.uri, self.name, self.allowed)
        return filesystem, path

    def _opened(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        # A web address is asked for byte by byte as it stands, or its signature would not be that of the address. One
        # with letters that no address may hold has to be encoded first.
        options: dict[str, Any] = {"encoded": True} if self.is_web_address and _ADDRESS.fullmatch(self.uri) else {}
        if self.is_web_address and self.allowed is not None:
            options |= web_options(self.uri, self.name, self.allowed)
        filesystem, path = url_to_fs(as_uri(from_outside(self.uri)), **options)
        return filesystem, path

    def _check_address(self) -> None:
        protocol = as_uri(self.uri).partition("://")[0]
        if _CHAIN in self.uri or protocol not in PROTOCOLS:
            raise DataError(
                f"{self.name}: is not read from there. Use a path, or one address that begins with "
                f"{', '.join(f'{name}://' for name in PROTOCOLS)}; a copy at such a place will do."
            )
        self.check_reach()

    def _fetched(self, folder: str) -> str:
        from fsspec.implementations.local import LocalFileSystem

        filesystem, path = self.filesystem()
        if isinstance(filesystem, LocalFileSystem):
            return path
        # As a whole: a connection that breaks off must not look like a file that ends early.
        target = f"{folder}/fetched{''.join(self._path.suffixes[-2:])}"
        filesystem.get_file(path, target)
        return target


def format_of(path: PurePosixPath) -> str | None:
    """Return the format that a file's name tells, ``None`` when it tells none."""
    is_compressed = path.suffix.lower() in _COMPRESSIONS
    return _FORMATS.get((PurePosixPath(path.stem) if is_compressed else path).suffix.lower())


def explained(name: str, error: Exception) -> DataError | SourceUnavailableError:
    """Say what an exception means: its own words may hold an address with a token in it."""
    if isinstance(error, DataError):
        return error
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return DataError(f"{name}: not found. Check the path; a relative one counts from {PROJECT_DIR}.")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{name}: is a folder. Name the files in it.")
    if isinstance(error, PermissionError) or status in (401, 403, 410):
        return DataError(f"{name}: reading it is not allowed. Check its permissions, or the credentials for it.")
    # From fsspec, which knows some protocols only with their package.
    if isinstance(error, ImportError) or str(error).startswith("Protocol not known"):
        protocol = name.partition("://")[0]
        return DataError(f"{name}: cannot be opened without the package {_PACKAGES.get(protocol, 'of its protocol')}.")
    if isinstance(error, ValueError):
        return DataError(f"{name}: cannot be opened. Check the address.")
    if type(error).__name__ in _NO_CREDENTIALS:
        return DataError(f"{name}: there are no credentials for this store. Set them where preprocessing runs.")
    reason = f"HTTP status {status}" if status else type(error).__name__
    return SourceUnavailableError(f"{name}: could not be fetched ({reason}); worth another try.")


def as_uri(location: str | Path) -> str:
    """Return a URI without a slash at its end; a relative path counts from the project's folder."""
    location = str(location)
    return (location if "://" in location else file_uri(PROJECT_DIR / location)).rstrip("/")


def write_whole(uri: str, text: str) -> None:
    """Write a small file that a reader sees all of, or nothing: beside its place, and then moved there."""
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(as_uri(uri))
    folder, _, name = path.rpartition("/")
    write_file(filesystem, f"{folder}/.{name}", text.encode())
    filesystem.mv(f"{folder}/.{name}", path)
