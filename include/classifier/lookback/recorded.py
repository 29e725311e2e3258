"""What is recorded about a release, read again later: to train it once more, or to explain an answer of it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from typing import Any

from include.classifier.data.sources import as_uri
from include.contracts.kinds.text_classifier import TextClassifierCandidate


class NotTheSameError(ValueError):
    """Data, code or package are not those of the release, so that nothing can be said about it."""


def read_candidate(uri: str, archive_sha256: str) -> dict[str, Any]:
    """Read ``candidate.json``, and make sure that it speaks of the package that the registry knows.

    :param archive_sha256: what the registry says of the package; empty: not compared.
    :raises NotTheSameError: when it is not there, or speaks of another package.
    """
    import fsspec

    try:
        with fsspec.open(as_uri(uri), "rb") as file:
            text = file.read().decode("utf-8")
    except FileNotFoundError:
        raise NotTheSameError(f"{uri}: not found. Retention may have deleted the release's files.") from None
    candidate = TextClassifierCandidate.parse(text, where=uri)
    if archive_sha256 and candidate.archive.sha256 != archive_sha256:
        raise NotTheSameError(
            f"The package differs: {uri} speaks of an archive with SHA-256 {candidate.archive.sha256}, the "
            f"registry of {archive_sha256}. Somebody has changed one of them."
        )
    return candidate.model_dump(exclude_unset=True)


def packages_that_differ(recorded: Mapping[str, str]) -> list[str]:
    """Return a line for each package that has another version than when the release was made."""
    lines = []
    for name, before in sorted(recorded.items()):
        try:
            now = package_version(name)
        except PackageNotFoundError:
            now = "not installed"
        if now != before:
            lines.append(f"{name} {before} then, {now} now")
    return lines
