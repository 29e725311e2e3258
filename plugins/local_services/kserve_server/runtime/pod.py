"""Serves the model of a pod in a cluster: ``python -m runtime.pod --model_name=iris``, as a ServingRuntime starts it.

It reads what KServe has put into the folder, the safe formats of ``layout.SAFE_FILES`` alone, and refuses files other
than those that were released. A release tells it their digest and its version by variables.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import socket
import sys
from pathlib import Path

from .layout import SAFE_FILES, FormatError, model_file

log = logging.getLogger(__name__)

#: Set by a release (``kubeflow_provider.hooks._kserve.releases.specs``).
VERSION_VARIABLE, SHA256_VARIABLE = "MODEL_VERSION", "ARCHIVE_SHA256"
#: Kubernetes tells the pod to end and whoever sends it requests at the same time.
_DRAIN_SECONDS = 3.0
_MOST_CONNECTIONS = 250


def main() -> None:
    """Serve the folder's model until the pod is told to end; what is wrong with it is the last line of the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_dir", type=Path, default=Path("/mnt/models"))
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104  # the pod's; who reaches it is for its network
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        check_files(given.model_dir, os.environ.get(SHA256_VARIABLE, ""))
        model_format, path = find_model(given.model_dir)
    except (OSError, FormatError) as error:
        sys.exit(f"The model cannot be served: {error}")
    from .listening import listen
    from .server import make_application

    version = os.environ.get(VERSION_VARIABLE, "")
    app = make_application(given.model_name, version, model_format=model_format, path=path)
    listener = socket.create_server((given.host, given.http_port))
    listen(app, [listener], drain_seconds=_DRAIN_SECONDS, most_connections=_MOST_CONNECTIONS)


def find_model(folder: Path) -> tuple[str, Path]:
    """Return the format and the file of the one model in a folder.

    :raises FormatError: when there is none, or more than one.
    """
    names = [path.name for path in folder.iterdir() if path.is_file()]
    ends = tuple(end for known in SAFE_FILES.values() for end in known)
    found = [each for each in SAFE_FILES if any(name.endswith(SAFE_FILES[each]) for name in names)]
    if len(found) != 1:
        raise FormatError(
            f"{len(found)} formats are in {folder}; one file whose name ends in {' or '.join(ends)} must be there. "
            "Pickles run code when they are read: KServe's own runtimes take them, this one does not"
        )
    return found[0], folder / model_file(found[0], names, allow_pickle=False)


def check_files(folder: Path, sha256: str) -> None:
    """Make sure that the files are those that were released.

    :param sha256: digest of the folder, as ``include.contracts.version.model_files`` computes it; empty: any.
    :raises FormatError: when they are others.
    """
    if sha256 and (found := folder_digest(folder)) != sha256:
        raise FormatError(f"the files in {folder} have SHA-256 {found}, {sha256} was released. Release it again")


def folder_digest(folder: Path) -> str:
    """Return the digest of a folder's files."""
    lines = []
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append((path.relative_to(folder).as_posix(), digest))
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in sorted(lines)).encode()).hexdigest()


if __name__ == "__main__":
    main()
