"""What a model may be trained and evaluated on, whoever names it: places with a licence, see docs/data-rules.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from include.contracts.monitoring.labels import LABELLED_REQUESTS
from include.contracts.queries import QUERY
from include.contracts.rules.addresses import without_secrets
from include.contracts.rules.allowed_sources import EVERYTHING, HUB, is_allowed
from include.contracts.section import Section


def _place(source: str) -> str:
    if source != source.strip() or source in ("", EVERYTHING):
        raise ValueError("name a folder, an address, a data set of the Hub, a query, or `labelled requests`")
    return source


class Origin(Section):
    """Where rows may come from."""

    source: Annotated[str, AfterValidator(_place)] = Field(
        description="A file or folder, `s3://bucket/folder`, `https://host`, `hub:owner` or `hub:owner/name`, "
        f"`query:NAME`, or `{LABELLED_REQUESTS}`."
    )
    licence: str = Field(min_length=1, max_length=100, description="What allows it: an SPDX id, or a contract's name.")

    def holds(self, location: str) -> bool:
        """Tell whether a source of the settings lies here."""
        if location.startswith(HUB):
            # Behind the name of a data set: its configuration and split.
            return location == self.source or location.startswith((f"{self.source}/", f"{self.source}:"))
        if location.startswith(QUERY) or location == LABELLED_REQUESTS:
            return location == self.source
        return is_allowed(location, [self.source])


def origin_of(location: str, origins: Iterable[Origin]) -> Origin | None:
    """Return where a source lies, of several the closest; ``None`` where it lies in none.

    :param location: as the settings have it; :data:`LABELLED_REQUESTS` for requests of users.
    """
    found = [origin for origin in origins if origin.holds(location)]
    return max(found, key=lambda origin: len(origin.source), default=None)


def not_permitted(locations: Iterable[str], origins: Sequence[Origin], licences: Sequence[str]) -> list[str]:
    """Return a sentence for each source that may not be used. Without origins all may be.

    :param licences: those that may be used; empty: whichever the origins name.
    """
    if not origins:
        return []
    return [sentence for name in dict.fromkeys(locations) if (sentence := _refusal(name, origins, licences))]


def _refusal(location: str, origins: Sequence[Origin], licences: Sequence[str]) -> str:
    origin, name = origin_of(location, origins), without_secrets(location)
    if origin is None:
        return (
            f"{name}: no origin in the model's YAML holds it, so nothing says that it may be used. Add it to "
            "`data.origins` with its licence once somebody has looked, or take other data."
        )
    if licences and origin.licence not in licences:
        return (
            f"{name}: its licence is {origin.licence!r}, and `data.licences` allows {', '.join(map(repr, licences))}. "
            "Take other data, or allow it once somebody has looked."
        )
    return ""
