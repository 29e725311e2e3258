"""What the gate has judged, as digests: whatever is decided after it is decided about exactly these files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases import ids
from model_releases.exceptions import ReleaseRefusedError
from model_releases.memory import xcoms
from model_releases.memory.candidate import open_plain, parse_candidate_of, read_text
from model_releases.memory.outcome import first_xcom

if TYPE_CHECKING:
    from include.contracts.candidate import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """SHA-256 of ``candidate.json``, of the archive and of the report (empty where there is none)."""

    candidate_sha256: str
    archive_sha256: str
    report_sha256: str

    @classmethod
    def gather(cls, candidate: Candidate, uri: str, *, conn_id: str | None) -> Evidence:
        """Read the files of a candidate.

        :param uri: of its ``candidate.json``.
        :raises ReleaseRefusedError: when the archive is not the one that was evaluated.
        :raises InvalidRequestError: when one of them is gone, or no plain file.
        :raises ServiceUnavailableError: when one of them cannot be read.
        """
        archive_uri = f"{candidate.archive.uri.rstrip('/')}/{candidate.archive.file}"
        found = cls(
            candidate_sha256=text_sha256(read_text(uri, conn_id=conn_id)),
            archive_sha256=_sha256(archive_uri, conn_id),
            report_sha256=_sha256(candidate.report_uri, conn_id) if candidate.report_uri else "",
        )
        if found.archive_sha256 != candidate.archive.sha256:
            raise _changed(archive_uri, found.archive_sha256, candidate.archive.sha256, "was evaluated")
        return found

    def to_json(self) -> dict[str, str]:
        """Return it in JSON types."""
        return asdict(self)

    def facts(self) -> dict[str, str]:
        """Return what the registry keeps of it; the digest of the archive is among the candidate's own facts."""
        return {"candidate_sha256": self.candidate_sha256, "report_sha256": self.report_sha256}


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


def judged(context: Mapping[str, Any]) -> Evidence | None:
    """Return what the gate of this DAG run has judged, ``None`` as long as it has judged nothing."""
    found = first_xcom(context, [ids.GATE], xcoms.JUDGED)
    return Evidence(**found) if found else None


def insist(candidate: Candidate, uri: str, expected: Evidence | None, *, conn_id: str | None) -> None:
    """Make sure that the files of a candidate are those that the gate has judged.

    :raises ReleaseRefusedError: naming the first that is not.
    """
    found = Evidence.gather(candidate, uri, conn_id=conn_id)
    for name, place in (
        ("candidate_sha256", uri),
        ("archive_sha256", candidate.archive.uri),
        ("report_sha256", candidate.report_uri),
    ):
        insist_on_digest(place, getattr(found, name), getattr(expected, name, ""))


def insist_on_digest(uri: str, found: str, expected: str) -> None:
    """Make sure that a file is what the gate has judged.

    :raises ReleaseRefusedError: when it is not, or the gate has judged nothing.
    """
    if found != expected:
        raise _changed(uri, found, expected, "was judged by the gate")


def _changed(uri: str, found: str, expected: str, what: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        f"{uri} has SHA-256 {found or '(none)'}, and {expected or 'nothing'} {what}: it does not go live. Find out who "
        "has changed it, and trigger the DAG again: a new release gets a version of its own."
    )


def _sha256(uri: str, conn_id: str | None) -> str:
    try:
        with open_plain(uri, conn_id=conn_id) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise InvalidRequestError(f"{uri} is gone.") from error
    except OSError as error:
        raise ServiceUnavailableError(f"{uri} cannot be read: {error.strerror or error}.") from error
