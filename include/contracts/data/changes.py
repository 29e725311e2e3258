"""How the data set of a release differs from that of the live version, and what of it is tolerated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from include.contracts.documents import Part, Share, Version
from include.contracts.section import Fraction, Section

#: Of the words of a change.
MOST_CHARACTERS = 300
#: With three decimals a smaller distance is 0.
_VISIBLE = 0.0005


class DataChange(Part):
    """One thing that is held against the live version's data set."""

    _shown = ("name", "distance")

    name: Literal["columns", "labels", "classes", "lengths", "scripts", "missing", "duplicates", "unknown_words"]
    distance: Share = Field(description="0: as it was; 1: nothing is as it was")
    live: str = Field(max_length=MOST_CHARACTERS, description="What it was there, for people; no text")
    candidate: str = Field(max_length=MOST_CHARACTERS, description="What it is here")


class DataChanges(Part):
    """A data set beside that of the live version."""

    version: Version = Field(description="Of the live model")
    changes: list[DataChange]
    not_compared: str = Field("", description="What could not be compared, and why")

    def above(self, tolerated: DataChangeConfig) -> list[DataChange]:
        """Return what has changed by more than is tolerated."""
        return [each for each in self.changes if each.distance > tolerated.limit(each.name)]

    def line(self) -> str:
        """Return in one line what has changed at all, the most first."""
        found = sorted((each for each in self.changes if each.distance >= _VISIBLE), key=lambda each: -each.distance)
        if not found:
            return "as they were" if self.changes else self.not_compared
        return ", ".join(f"{each.name.replace('_', ' ')} {each.distance:.3f}" for each in found)


class DataChangeConfig(Section):
    """What of the data may differ from the live version's data set; docs/data-rules.md explains each of them."""

    action: Literal["tell", "reject"] = Field(
        "tell",
        description="What becomes of a release whose data have changed by more: it is told, or the gate says no.",
    )
    classes: Fraction = Field(0.15, description="Share of the training rows that would have to change their label.")
    lengths: Fraction = Field(0.2, description="Largest difference of the shares of texts up to any length.")
    scripts: Fraction = Field(0.1, description="Share of the texts that would have to change their script.")
    missing: Fraction = Field(0.05, description="Difference of the shares of rows without a text or a known label.")
    duplicates: Fraction = Field(0.2, description="Difference of the shares of rows that were repeated.")
    unknown_words: Fraction = Field(
        0.1, description="How many more words than in rows of the same data are in no training row of the live version."
    )

    def limit(self, name: str) -> float:
        """Return the distance up to which a change is tolerated: of columns and labels none is."""
        return float(getattr(self, name, 0.0))
