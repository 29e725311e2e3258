"""``dataset.json``: written by preprocessing, read by training and by the DAG."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from include.contracts.data.personal_data import Kind
from include.contracts.data.profile import PersonalDataFound, Profile, Sort
from include.contracts.documents import Count, Document, Part, Positive, Sha256
from include.contracts.kinds.slices import SliceRule


class Split(Part):
    """The rows of one split."""

    uri: str = Field(description="Parquet with the columns text (string) and label (int64, index into labels)")
    rows: Positive
    label_counts: dict[str, Count]
    sha256: Sha256
    slices_sha256: Sha256 | None = Field(
        None, description="Of the columns `slice NAME`: which rows are in a slice by a column"
    )
    profile: Profile | None = Field(None, description="Absent before there was one")


class Splits(Part):
    """Both splits."""

    train: Split
    evaluation: Split


class Source(Part):
    """Where rows came from."""

    uri: str
    split: Literal["train", "evaluation"]
    rows: Count
    version: Count | None = Field(None, description="Of a table that keeps its versions, the one that was read")
    named: str | None = Field(
        None, description="The source of the settings that it is of, where that holds {date} or is a query"
    )
    query_sha256: Sha256 | None = Field(None, description="Of the query's SQL")
    licence: str | None = Field(None, description="Of its origin, where the settings name origins")


class DatedSource(Part):
    """A source of the settings that holds {date}."""

    uri: str
    split: Literal["train", "evaluation"]
    missing: list[str] = Field(description="Days of which nothing was there")


class DataWindow(Part):
    """The days whose data was read, where a source or the rows have a date."""

    first: str = Field(description="ISO 8601")
    last: str
    timezone: str = Field(description="Whose days they are, an IANA name")
    sources: list[DatedSource]
    rows_outside: Count = Field(0, description="Training rows of other days; they are not among rows_in")
    rows_without_date: Count = 0


class PerSplit(Part):
    """A number of rows of each split."""

    train: Count
    evaluation: Count


class Dropped(Part):
    """Rows that were dropped, by reason."""

    empty: PerSplit
    unknown_label: PerSplit
    duplicate: PerSplit
    leaked: PerSplit


class Dataset(Document):
    """What preprocessing has written."""

    file = "dataset.json"
    _shown = ("model", "sha256")

    labels: list[str] = Field(
        min_length=2, description="Names, in the order of the class indices in column `label` of the Parquet files"
    )
    splits: Splits
    sources: list[Source]
    window: DataWindow | None = None
    slices: list[SliceRule] = Field(
        [], description="Slices of the evaluation rows, as the model's YAML names them; absent: none"
    )
    columns: dict[str, list[Sort]] = Field(
        {}, description="Column that was read -> sorts of values that stand in it; absent before they were counted"
    )
    personal_data: dict[Kind, PersonalDataFound] = Field(
        {}, description="What was looked for in the texts; absent before there was any"
    )
    rows_in: Count
    rows_kept: Count
    dropped: Dropped = Field(description="By reason and by split; rows_in = rows_kept + their sum")
    sha256: Sha256 = Field(
        description="Digest of labels and rows of both splits; independent of file format, URI and time"
    )
