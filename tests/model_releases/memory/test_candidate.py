"""Whatever a training has left in the place of its document is named, in bounded time and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError
from model_releases.memory.candidate import read_candidate


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10**12)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (sparse, "has more than 50 MB"),
        (os.mkfifo, "is no plain file"),
        (lambda path: path.symlink_to("/dev/zero"), "is no plain file"),
        (lambda path: path.write_bytes(b"\xff"), "byte 0 is not UTF-8"),
        (lambda path: path.write_text("{"), "is not JSON"),
        (lambda path: path.write_text("[" * 500_000), "is no document of ours: RecursionError"),
        (lambda path: path.write_text("[]"), "is not a valid candidate.json"),
    ],
)
def test_what_is_no_document_is_named(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "candidate.json"
    write(path)
    with pytest.raises(InvalidRequestError, match=rf"candidate\.json.*{message}"):
        read_candidate(path.as_uri())


def test_what_is_gone_may_come(tmp_path: Path) -> None:
    with pytest.raises(KubeflowProviderError, match="cannot be read: No such file"):
        read_candidate((tmp_path / "candidate.json").as_uri())
