"""What the steps of a preprocessing in parts tell each other, in the folder ``parts`` of the data set."""

from __future__ import annotations

from typing import Any, Literal

from include.contracts.documents import Count, Part, Sha256

FOLDER = "parts"


class PlannedSource(Part):
    """A source as it was when the plan was made, without what may be secret of its address."""

    name: str
    split: Literal["train", "evaluation"]
    version: Count | None = None
    named: str | None = None


class PartsPlan(Part):
    """What is read, and which sources are read together; ``plan.json``."""

    id: str  #: Another plan for the same data set has another one: what was read for it is not taken for this one.
    settings_sha256: Sha256
    as_of: str  #: When the release was asked for, ISO 8601.
    labelled: bool  #: Whether there are captured requests with labels, which stand in the data set's folder.
    sources: list[PlannedSource]
    ends: list[Count]  #: Number of the source behind the last one of each part.

    def span(self, part: int) -> range:
        """Return the numbers of the sources of a part."""
        return range(self.ends[part - 1] if part else 0, self.ends[part])


class WrittenPart(Part):
    """What is known of the rows of a part; ``part-00001.json``, beside its two Arrow files."""

    plan_id: str
    rows: list[Count]  #: Of each source.
    rows_sha256: Sha256  #: Of ``part-00001.rows``.
    labels_sha256: Sha256  #: Of ``part-00001.labels``.
    in_files: dict[str, Any]  #: What is wrong, as :class:`~include.classifier.data.problems.Problems` writes it.
    in_rows: dict[str, Any]
    first: dict[Literal["train", "evaluation"], tuple[list[int], list[int]]]  #: Lengths and classes of the first rows.
    personal_data: dict[str, dict[str, Count]]  #: Split -> kind -> rows.
    label_types: list[str]
    left_out: dict[str, Count]  #: Rows of other days and without a date.
