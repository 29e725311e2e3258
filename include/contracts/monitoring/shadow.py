"""Section ``shadow`` of ``candidate.json``: what a candidate answers to requests that the live version has answered.

The step that scores the packed candidate writes it; the gate, the cards and the report read it. No text is in it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.contracts.documents import Count, NotNegative, Part, Positive, Share, Version

#: Digits of the SHA-256 of a request's id.
ID_DIGITS = 16

MOST_LABEL_CHANGES, MOST_SLICES, MOST_REQUESTS = 30, 10, 10


class ChangedShare(Part):
    """How many requests get another answer. A request counts once: of several rows each is its part."""

    share: Share
    low: Share = Field(description="Of Wilson's interval")
    high: Share


class LabelChange(Part):
    """Rows that the live version has answered with one label, and the candidate with another."""

    live: str
    candidate: str
    rows: Positive


class ShadowSlice(Part):
    """Requests with something in common, such as their length; the more there are, the worse the worst looks."""

    name: str
    requests: Positive
    changed: ChangedShare


class MovedRow(Part):
    """A row whose answer has moved far."""

    _shown = ("row",)

    id_sha256: Annotated[str, Field(pattern=f"^[0-9a-f]{{{ID_DIGITS}}}$")] = Field(
        description="First digits of the SHA-256 of the request's id"
    )
    row: Count = Field(description="Of the request, from 0")
    live: str = Field(description="Label that was answered")
    candidate: str
    probability_change: Annotated[float, Field(ge=-1, le=1)] = Field(
        description="Of the label that was answered: the candidate's minus what was captured"
    )


class Shadow(Part):
    """What became of the newest captured requests."""

    _shown = ("live_version", "requests")

    live_version: Version = Field(description="Whose answers are compared with")
    asked_for: Positive = Field(description="So many of its newest requests at most")
    days: Positive = Field(description="of so many days")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="Of every interval here")
    requests: Count = Field(description="That the candidate has answered")
    rows: Count
    first: str = Field("", description="ISO 8601: the earliest of them")
    last: str = Field("", description="and the latest")
    other_versions: Count = Field(description="Requests that another version has answered, or nobody says which")
    without_texts: Count = Field(description="Requests of which no text was kept: they cannot be answered again")
    without_answers: Count = Field(description="Requests whose answer has no label to compare with")
    broken_lines: Count = Field(description="Lines and files that could not be read")
    is_cut: bool = Field(False, description="Whether there was more than is read at once")
    changed: ChangedShare | None = Field(None, description="Null where no request could be answered again")
    changed_rows: Count = 0
    mean_probability_change: NotNegative = Field(
        0.0, description="Of the label that was answered, without its sign, over requests"
    )
    labels: list[LabelChange] = Field([], max_length=MOST_LABEL_CHANGES, description="The most frequent first")
    slices: list[ShadowSlice] = Field([], max_length=MOST_SLICES, description="The most changed first")
    moved: list[MovedRow] = Field([], max_length=MOST_REQUESTS, description="The furthest first")
    why_not: str = Field("", description="Why nothing could be compared")
