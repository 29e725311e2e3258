"""The documents of a batch prediction, in the folder that it writes to.

``plan.json`` says what is scored by whom, before anything is; ``shards/00007.json`` vouches for the files of one shard,
``predictions/part-00007.parquet`` and, where rows were rejected, ``rejected/part-00007.parquet``; ``predictions.json``
tells how it ended, and is what a DAG reads. Each folder holds files of one kind, so that Spark reads it as a table.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import Field

from include.contracts.documents import Count, Document, NotNegative, Part, Positive, Sha256, Version

PLAN, PREDICTIONS, SUCCESS = "plan.json", "predictions.json", "predictions/_SUCCESS"

#: Columns that stand beside those of the input.
LABEL, PROBABILITY, VERSION, TRUNCATED = OUTPUT_COLUMNS = (
    "predicted_label",
    "predicted_probability",
    "predicted_version",
    "predicted_truncated",
)

#: How a column of JSON Lines is written; ``json``: texts as they are, everything else as JSON.
JsonType = Literal["null", "bool", "int64", "float64", "string", "json"]


class Column(Part):
    """A column of the input."""

    name: str
    type: str = Field(description="As Arrow names it, of JSON Lines as JsonType does")


class InputFile(Part):
    """A file as it was when the plan was made."""

    uri: str
    sha256: Sha256
    size_bytes: Count
    rows: Count = Field(description="That can be read")
    unreadable: Count = Field(description="Lines that are no rows")


class Span(Part):
    """Rows of one file that follow each other."""

    file: Count = Field(description="Index in the list of files")
    begin: Count = Field(description="Line, or index in a table, from which on rows belong to it")
    end: Count | None = Field(description="The first that does not any more; null: it goes to the end of the file")


class Shard(Part):
    """What is scored in one go, and written to files of its own."""

    spans: list[Span]
    rows: Count = Field(description="That can be read")


class Plan(Document):
    """``plan.json``: which rows of which files are scored with which version."""

    file = PLAN
    _shown = ("model", "version")

    version: Version
    archive_sha256: Sha256
    data_uri: str
    format: Literal["csv", "tsv", "jsonl", "parquet"]
    text_columns: list[str] = Field(min_length=1)
    reading_sha256: Sha256 = Field(description="Of the settings that decide how a row is read")
    columns: list[Column]
    files: list[InputFile]
    shards: list[Shard]

    @property
    def rows(self) -> int:
        """How many rows can be read."""
        return sum(shard.rows for shard in self.shards)

    @property
    def unreadable(self) -> int:
        """How many lines are no rows."""
        return sum(file.unreadable for file in self.files)

    @property
    def sha256(self) -> str:
        """Digest by which a shard says which plan it is of; when it was made does not count."""
        text = json.dumps(self.model_dump(exclude={"created_at"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class WrittenFile(Part):
    """A file that a shard has written."""

    file: str = Field(description="Below the folder of the output")
    rows: Count
    size_bytes: Positive
    sha256: Sha256


class Receipt(Document):
    """``shards/00007.json``: that a shard is done, and what it has written."""

    file = "shards/*.json"
    _shown = ("model", "shard")

    plan_sha256: Sha256
    shard: Count
    predicted: WrittenFile
    rejected: WrittenFile | None = Field(description="Null where every row has a prediction")
    reasons: dict[str, Positive] = Field(description="Why rows were rejected, and how many for each reason")
    truncated: Count = Field(description="Rows of which the model has read the beginning")
    label_counts: dict[str, Positive]
    seconds: NotNegative

    @property
    def files(self) -> list[WrittenFile]:
        """What it has written."""
        return [self.predicted, *([self.rejected] if self.rejected else [])]


class Predictions(Document):
    """``predictions.json``: how a batch prediction ended."""

    file = PREDICTIONS
    _shown = ("model", "version", "rows")

    version: Version
    archive_sha256: Sha256
    plan_sha256: Sha256
    data_uri: str
    rows: Count = Field(description="All rows and lines of the input: predicted and rejected")
    predicted: Count
    rejected: Count
    reasons: dict[str, Positive]
    truncated: Count
    label_counts: dict[str, Positive]
    seconds: NotNegative = Field(description="That the shards took, one after the other")
    files: list[WrittenFile] = Field(description="With predictions, in the order of the rows")
    rejected_files: list[WrittenFile]
