"""What is told, and how loudly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

#: In the place of a connection: nobody is told.
NOBODY = "none"


class Severity(StrEnum):
    """How loud an alert is. The values stand in the models' YAML files: never rename them."""

    QUIET = "quiet"
    NORMAL = "normal"
    LOUD = "loud"

    @property
    def prefix(self) -> str:
        """First word of the title, for the filters of mail boxes and pagers."""
        return _PREFIXES[self]


_PREFIXES = {Severity.QUIET: "INFO", Severity.NORMAL: "WARNING", Severity.LOUD: "CRITICAL"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing to tell.

    :param key: says that two alerts are the same one: nobody is told of the same key twice.
    :param title: one line, without the severity.
    :param body: lines of ``name: value``; no user text, no secret.
    """

    key: str
    severity: Severity
    title: str
    body: str

    @property
    def subject(self) -> str:
        """The title as a receiver sees it."""
        return f"{self.severity.prefix}: {self.title}"

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Alert:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**document, "severity": Severity(document["severity"])})
