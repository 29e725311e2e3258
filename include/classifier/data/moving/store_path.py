"""The model store as the readers of captured requests want it: like a path, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from include.classifier.data.sources import as_uri


@dataclass(frozen=True, slots=True)
class StorePath:
    """A file or folder of an object store."""

    filesystem: Any
    path: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(self.filesystem, f"{self.path}/{name}")

    def iterdir(self) -> Iterator[StorePath]:
        """Yield what is in a folder.

        :raises FileNotFoundError: when it is not there.
        """
        for path in self.filesystem.ls(self.path, detail=False):
            if path.rstrip("/") != self.path:
                yield StorePath(self.filesystem, path.rstrip("/"))

    def is_dir(self) -> bool:
        """Tell whether it is a folder."""
        return bool(self.filesystem.isdir(self.path))

    def open(self, mode: str) -> IO[bytes]:
        """Open a file."""
        opened: IO[bytes] = self.filesystem.open(self.path, mode)
        return opened


def store_at(uri: str) -> Path | StorePath:
    """Return the folder of a model in the model store."""
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(as_uri(uri))
    return Path(path) if "file" in filesystem.protocol else StorePath(filesystem, path.rstrip("/"))
