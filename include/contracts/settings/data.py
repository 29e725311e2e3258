"""The section ``data`` of a model's YAML: where its rows come from and what they must look like."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from include.contracts.data.origins import Origin
from include.contracts.data.personal_data import PersonalDataConfig
from include.contracts.dates import SourceName, Span, Window, days_of, is_dated
from include.contracts.kinds.labels import label_text, read_label
from include.contracts.kinds.slices import Slices, columns_of
from include.contracts.queries import QueryConfig, QueryName
from include.contracts.section import Fraction, Section

#: Name of a column, or its number in files that have no names for them.
Column = str | int


class DataConfig(Section):
    """Where the data comes from and what it must look like."""

    train: list[SourceName] = Field(
        description="Paths, URIs or Hub data set ids (`hub:owner/name[:split]`) to train on."
    )
    evaluation: list[SourceName] = Field(
        [], description="The same for evaluation; empty splits off `evaluation_fraction`."
    )
    labelled_requests: bool = Field(False, description="Captured requests with labels are trained on (docs/drift.md).")
    queries: dict[QueryName, QueryConfig] = Field(
        {}, exclude=True, description="Queries that Airflow runs; a source `query:NAME` is the rows of one."
    )
    last: Span | None = Field(
        None,
        description="How many days are read where a source holds `{date}` or `date_column` is named, such as `90 days` "
        "or `12 weeks`; none: one day.",
    )
    until: Literal["today", "yesterday"] = Field(
        "today", description="The last of these days: the one that the release is asked for on, or the one before."
    )
    date_column: Column | None = Field(
        None, description="Column with the date of a training row; rows of other days are not read. Needs `last`."
    )
    text_column: Column | list[Column] = Field(
        "text",
        description="Column with the text; a list: what stands in these is joined, such as title and body. Numbers, "
        "the first column is 1, are for files without a header.",
    )
    text_separator: str = Field(" ", description="Stands between the texts of several columns.")
    label_column: Column = Field("label", description="Column with the label; a number where `text_column` is one.")
    labels: dict[str, str] = Field(
        description="Value in the label column -> name that the endpoint answers, in the order of the classes."
    )
    encoding: str | None = Field(
        None, description="Of text files, such as `gb18030`; none: UTF-8, or UTF-16 where the file shows it."
    )
    unescape: bool = Field(
        False,
        description='Texts hold line breaks and quotation marks as `\\n` and `\\"`, as some exports of reviews do.',
    )
    evaluation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="Share of the rows split off for evaluation, stratified, when no evaluation data is given."
    )
    min_rows: Annotated[int, Field(ge=2)] = Field(50, description="Fewest rows to train on.")
    min_evaluation_rows: Annotated[int, Field(ge=2)] = Field(20, description="Fewest rows to evaluate on.")
    min_class_share: Fraction | None = Field(
        None,
        description="Smallest share of a class among the training rows; none: a tenth of what it would have among even "
        "classes, and never more than 0.02.",
    )
    max_text_characters: Annotated[int, Field(ge=1)] = Field(
        100_000, description="A longer text means that the file was read wrongly, and is refused."
    )
    slices: Slices = Field(
        [],
        description="Parts of the evaluation rows that are reported, and judged by `gate`, for themselves.",
    )
    parallel_files: Annotated[int, Field(ge=1, le=256)] = Field(
        1,
        description="Steps that read the files of the sources side by side, each a part of them: pods in a cluster; on "
        "one machine processes, at most two at a time. 1: one process reads them all (docs/scaling.md).",
    )
    allowed_sources: list[str] = Field(
        [],
        description="What the trigger form may name besides the sources above, the model's own folder of the store and "
        "`hub:owner/name`: folders, `s3://bucket/folder`, `https://host`, `https://` for every public host.",
    )
    origins: list[Origin] = Field(
        [],
        description="What may be trained and evaluated on, with its licence; whatever is in none of them is refused.",
    )
    licences: list[str] = Field(
        [], description="Licences of `origins` that may be used for this model; none: whichever they name."
    )
    personal_data: PersonalDataConfig = PersonalDataConfig()

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, values: Any) -> Any:
        if isinstance(values, dict):
            values = dict(values)
            for key in ("train", "evaluation"):
                if isinstance(values.get(key), str):
                    values[key] = [values[key]]
            if isinstance(labels := values.get("labels"), list):
                values["labels"] = {read_label(label): read_label(label) for label in labels}
            elif isinstance(labels, dict):
                values["labels"] = {read_label(key): read_label(name) for key, name in labels.items()}
        return values

    @model_validator(mode="after")
    def _labels_differ(self) -> DataConfig:
        if len(self.labels) < 2:
            raise ValueError("labels: a classifier needs at least two")
        if len(set(self.labels.values())) != len(self.labels):
            raise ValueError("labels: two of them have the same name")
        if len({label_text(key) for key in self.labels}) != len(self.labels):
            raise ValueError("labels: two values differ by white space or by the spelling of an accent alone")
        return self

    @model_validator(mode="after")
    def _columns_differ(self) -> DataConfig:
        dated = [] if self.date_column is None else [self.date_column]
        columns = [*self._columns, *dated, *columns_of(self.slices)]
        if not self.text_columns or len(set(map(str, columns))) < len(columns):
            raise ValueError("text_column: name each column once, and not the one with the label, the date or a slice")
        numbers = [column for column in columns if isinstance(column, int)]
        if numbers and (len(numbers) < len(columns) or min(numbers) < 1):
            raise ValueError(
                "text_column, label_column, date_column: all are names, or all are numbers, of which the first is 1; "
                "so are the columns of slices"
            )
        return self

    @model_validator(mode="after")
    def _date_column_has_days(self) -> DataConfig:
        if self.date_column is not None and self.last is None:
            raise ValueError("date_column: says nothing without `last`, such as last: 90 days")
        if self.labelled_requests and not self.has_header:
            raise ValueError("labelled_requests: needs columns that are known by their names")
        return self

    @property
    def is_dated(self) -> bool:
        """Whether what is read depends on the day."""
        return self.date_column is not None or any(map(is_dated, (*self.train, *self.evaluation)))

    def window(self, moment: datetime, timezone: str) -> Window | None:
        """Return the days whose data is read by a release that was asked for at a moment, ``None`` for all there is."""
        back = 1 if self.until == "yesterday" else 0
        return Window.until(moment, timezone, days=days_of(self.last or "1 day"), back=back) if self.is_dated else None

    @property
    def _columns(self) -> list[Column]:
        texts = self.text_column if isinstance(self.text_column, list) else [self.text_column]
        return [*texts, self.label_column]

    @property
    def columns(self) -> list[str]:
        """All columns that are read: those with the text, and behind them the one with the label."""
        return [str(column) for column in self._columns]

    @property
    def text_columns(self) -> list[str]:
        """The columns whose texts are one."""
        return self.columns[:-1]

    @property
    def has_header(self) -> bool:
        """Whether columns are known by their names; otherwise files have none, and :attr:`columns` are numbers."""
        return isinstance(self.label_column, str)

    @model_validator(mode="after")
    def _encoding_is_known(self) -> DataConfig:
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError:
            raise ValueError(f"encoding: {self.encoding!r} is none that Python knows for texts") from None
        return self

    @model_validator(mode="after")
    def _class_share_can_hold(self) -> DataConfig:
        even = 1 / len(self.labels)
        if self.min_class_share is not None and self.min_class_share > even:
            raise ValueError(
                f"min_class_share: {self.min_class_share:g} cannot hold for {len(self.labels):,} classes, even ones "
                f"have {even:.3g} each; leave it out, or lower it"
            )
        return self

    @model_validator(mode="after")
    def _licences_are_of_something(self) -> DataConfig:
        if self.licences and not self.origins:
            raise ValueError("licences: no source has one without `origins`, such as {source: data, licence: MIT}")
        return self

    @property
    def smallest_class_share(self) -> float:
        """The share of the training rows that every class must have."""
        return min(0.02, 0.1 / len(self.labels)) if self.min_class_share is None else self.min_class_share

    def with_sources(self, train: list[str], evaluation: list[str] | None) -> DataConfig:
        """Return the same settings for other data."""
        return self.model_copy(update={"train": list(train), "evaluation": list(evaluation or [])})
