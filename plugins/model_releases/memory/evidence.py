"""What the gate of a DAG run has judged, and whether a candidate's files are still that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from include.contracts.version import evidence
from include.contracts.version.evidence import Evidence, EvidenceError
from include.contracts.version.files import reason_of
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases import ids
from model_releases.exceptions import ReleaseRefusedError
from model_releases.memory import xcoms
from model_releases.memory.candidate import open_plain, parse_candidate_of, read_text
from model_releases.memory.outcome import first_xcom

if TYPE_CHECKING:
    from include.contracts.candidate import Candidate


def read_judged(model: str, version: str, *, uri: str, sha256: str | None, conn_id: str | None) -> Candidate:
    """Return what the ``candidate.json`` of a version says.

    :param sha256: that it must have; ``None``: any.
    :raises InvalidRequestError: when it is another version's, or not what it should be.
    :raises ReleaseRefusedError: when it was changed since it was judged.
    :raises ServiceUnavailableError: when it cannot be read.
    """
    text = read_text(uri, conn_id=conn_id)
    if sha256 is not None:
        insist_on_digest(uri, text_sha256(text), sha256)
    return parse_candidate_of(model, version, text, uri=uri)


def text_sha256(text: str) -> str:
    """Return the digest of a document."""
    return hashlib.sha256(text.encode()).hexdigest()


def gather(candidate: Candidate, uri: str, *, conn_id: str | None) -> Evidence:
    """Look at the files of a candidate.

    :param uri: of its ``candidate.json``.
    :raises ReleaseRefusedError: when the archive is not the one that was evaluated.
    :raises InvalidRequestError: when one of them is gone, or no plain file.
    :raises ServiceUnavailableError: when one of them cannot be read.
    """
    with _refused():
        return Evidence.gather(candidate, uri, lambda file: _sha256(file, conn_id))


def judged(context: Mapping[str, Any]) -> Evidence | None:
    """Return what the gate of this DAG run has judged, ``None`` as long as it has judged nothing."""
    found = first_xcom(context, [ids.GATE], xcoms.JUDGED)
    return Evidence(**found) if found else None


def insist(candidate: Candidate, uri: str, expected: Evidence | None, *, conn_id: str | None) -> None:
    """Make sure that the files of a candidate are those that the gate has judged.

    :raises ReleaseRefusedError: naming the first that is not.
    """
    found = gather(candidate, uri, conn_id=conn_id)
    with _refused():
        found.insist(candidate, uri, expected)


def insist_on_digest(uri: str, found: str, expected: str) -> None:
    """Make sure that a file is what the gate has judged.

    :raises ReleaseRefusedError: when it is not, or the gate has judged nothing.
    """
    with _refused():
        evidence.insist_on_digest(uri, found, expected)


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except EvidenceError as error:
        raise ReleaseRefusedError(str(error)) from error


def _sha256(uri: str, conn_id: str | None) -> str:
    try:
        with open_plain(uri, conn_id=conn_id) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise InvalidRequestError(f"{uri} is gone.") from error
    except OSError as error:
        raise ServiceUnavailableError(f"{uri} cannot be read: {reason_of(error)}.") from error
