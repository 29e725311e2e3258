"""URIs of local files: as fsspec writes them, which takes what stands behind ``file://`` letter by letter.

Others (``Path.as_uri``, browsers) write ``%20`` for a space. What comes from outside is read in either way, once, where
it comes in; what is printed for people to open is written as browsers want it.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

_FILE = "file://"


def file_uri(path: str | Path) -> str:
    """Return the URI of an absolute path."""
    return f"{_FILE}{path}"


def local_path(uri: str) -> str:
    """Return the path of a ``file:`` URI from outside: as it is written where that exists, else as browsers read it."""
    path = "/" + uri.removeprefix("file:").lstrip("/")
    # `Path.exists` fails for what cannot be looked at; whoever opens it says why.
    return path if os.path.exists(path) else unquote(path)  # noqa: PTH110


def from_outside(uri: str) -> str:
    """Return a URI as the project writes it."""
    return file_uri(local_path(uri)) if uri.startswith("file:") else uri


def to_open(uri: str) -> str:
    """Return a URI that a browser opens."""
    return Path(uri.removeprefix(_FILE)).as_uri() if uri.startswith(_FILE) else uri
