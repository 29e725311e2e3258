"""What a gate has judged, as digests: whatever is decided after it is decided about exactly these files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.contracts.candidate import Candidate


class EvidenceError(ValueError):
    """A file is not what was judged; the message names it and says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """SHA-256 of ``candidate.json``, of the archive and of the report (empty where there is none)."""

    candidate_sha256: str
    archive_sha256: str
    report_sha256: str

    @classmethod
    def gather(cls, candidate: Candidate, uri: str, sha256_of: Callable[[str], str]) -> Evidence:
        """Look at the files of a candidate.

        :param uri: of its ``candidate.json``.
        :param sha256_of: returns the digest of a file by its URI.
        :raises EvidenceError: when the archive is not the one that was evaluated.
        """
        found = cls(
            candidate_sha256=sha256_of(uri),
            archive_sha256=candidate.archive.digest(sha256_of),
            report_sha256=sha256_of(candidate.report_uri) if candidate.report_uri else "",
        )
        if found.archive_sha256 != candidate.archive.sha256:
            files = [*candidate.archive.sizes()]
            raise _changed(
                files[0] if len(files) == 1 else candidate.archive.uri,
                found.archive_sha256,
                candidate.archive.sha256,
                "was evaluated",
            )
        return found

    def insist(self, candidate: Candidate, uri: str, expected: Evidence | None) -> None:
        """Make sure that these are the files that the gate has judged.

        :param expected: what it has judged; ``None``: nothing.
        :raises EvidenceError: naming the first that is not.
        """
        for name, place in (
            ("candidate_sha256", uri),
            ("archive_sha256", candidate.archive.uri),
            ("report_sha256", candidate.report_uri),
        ):
            insist_on_digest(place, getattr(self, name), getattr(expected, name, ""))

    def to_json(self) -> dict[str, str]:
        """Return it in JSON types."""
        return asdict(self)

    def facts(self) -> dict[str, str]:
        """Return what the registry keeps of it; the digest of the archive is among the candidate's own facts."""
        return {"candidate_sha256": self.candidate_sha256, "report_sha256": self.report_sha256}


def insist_on_digest(uri: str, found: str, expected: str) -> None:
    """Make sure that a file is what the gate has judged.

    :raises EvidenceError: when it is not, or the gate has judged nothing.
    """
    if found != expected:
        raise _changed(uri, found, expected, "was judged by the gate")


def _changed(uri: str, found: str, expected: str, what: str) -> EvidenceError:
    return EvidenceError(
        f"{uri} has SHA-256 {found or '(none)'}, and {expected or 'nothing'} {what}: it does not go live. Find out who "
        "has changed it, and start a new release, which gets a version of its own: trigger the DAG again, or start a "
        "new run of the pipeline."
    )
