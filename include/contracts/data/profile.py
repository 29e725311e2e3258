"""What the rows of a data set are like, in numbers: a part of ``dataset.json``, held against the live version's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from include.contracts.data.personal_data import Action
from include.contracts.documents import Count, Part, Positive, Share

#: Upper bounds of the lengths that are counted, in characters; each is about 1.4 times the one before.
LENGTHS = tuple(round(2 ** (power / 2)) for power in range(2, 35))
#: Shares of the rows that are at most as long as a quantile says.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Sort = Literal["text", "number", "whole number", "boolean"]


class Profile(Part):
    """Of rows that lie evenly in a split: no text, and no word of one."""

    rows: Positive = Field(description="That were looked at")
    quantiles: Annotated[list[Count], Field(min_length=len(QUANTILES), max_length=len(QUANTILES))] = Field(
        description="Characters of a text: 5 %, 25 %, half, 75 % and 95 % of the rows have so many or fewer"
    )
    up_to: Annotated[list[Share], Field(min_length=len(LENGTHS), max_length=len(LENGTHS))] = Field(
        description="Share of the rows with at most 2, 3, 4, 6, 8, 11, 16, … 131072 characters"
    )
    scripts: dict[Annotated[str, Field(max_length=40)], Share] = Field(
        description="Script of most letters of a text, such as Latin, or none -> share of the rows"
    )


class RowsBySplit(Part):
    """Rows of each split, as they were read."""

    train: Count
    evaluation: Count


class PersonalDataFound(Part):
    """What became of one kind of personal data."""

    action: Action
    rows: RowsBySplit = Field(description="That hold some")
