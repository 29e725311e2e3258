"""What was judged is told from whatever was put in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.exceptions import ReleaseRefusedError
from model_releases.memory import evidence
from model_releases.memory.candidate import read_candidate
from model_releases.memory.evidence import Evidence, insist

VERSION = "20260102000000"


def gather(uri: str) -> Evidence:
    return evidence.gather(read_candidate(uri), uri, conn_id=None)


@pytest.fixture
def files(tmp_path: Path, write_candidate: Callable[..., str]) -> dict[str, Path]:
    """Return the files of a candidate."""
    package = tmp_path / f"package-{VERSION}"
    document = Path(write_candidate().removeprefix("file://"))
    return {"candidate": document, "archive": package / "m.mar", "report": package / "report.html"}


@pytest.mark.parametrize("changed", ["candidate", "archive", "report"])
def test_one_changed_byte_of_any_file_is_refused_with_the_files_name(files: dict[str, Path], changed: str) -> None:
    uri = files["candidate"].as_uri()
    judged = gather(uri)
    insist(read_candidate(uri), uri, judged, conn_id=None)
    content = files[changed].read_bytes()
    files[changed].write_bytes(content + b"\n")
    with pytest.raises(ReleaseRefusedError, match=rf"{files[changed].name} has SHA-256 .* trigger the DAG again"):
        insist(read_candidate(uri), uri, judged, conn_id=None)


def test_an_archive_that_was_swapped_with_its_document_is_not_what_was_judged(files: dict[str, Path]) -> None:
    uri = files["candidate"].as_uri()
    judged = gather(uri)
    files["archive"].write_bytes(b"987654321")
    document = files["candidate"].read_text()
    swapped = document.replace(judged.archive_sha256, sha256(b"987654321").hexdigest())
    assert swapped != document
    files["candidate"].write_text(swapped)
    assert gather(uri).archive_sha256 != judged.archive_sha256, "they fit each other"
    with pytest.raises(ReleaseRefusedError, match="was judged by the gate"):
        insist(read_candidate(uri), uri, judged, conn_id=None)


def test_without_a_judgement_nothing_goes_on(files: dict[str, Path]) -> None:
    uri = files["candidate"].as_uri()
    with pytest.raises(ReleaseRefusedError, match="and nothing was judged by the gate"):
        insist(read_candidate(uri), uri, None, conn_id=None)


@pytest.mark.parametrize("gone", ["archive", "report"])
def test_what_is_gone_or_no_plain_file_is_named_at_once(files: dict[str, Path], gone: str) -> None:
    uri = files["candidate"].as_uri()
    files[gone].unlink()
    with pytest.raises(InvalidRequestError, match=f"{files[gone].name} is gone"):
        gather(uri)
    os.mkfifo(files[gone])
    with pytest.raises(InvalidRequestError, match=f"{files[gone].name} is no plain file"):
        gather(uri)
