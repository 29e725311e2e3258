"""The sections of a model's YAML that are no cluster's: what they are called, what they may be, and what they mean.

Rules, operators and training read them from here; ``model_releases.config`` makes a whole model of them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from include.contracts.dates import SourceName, Span, Window, days_of, is_dated
from include.contracts.kinds.labels import label_text, read_label
from include.contracts.kinds.slices import Slices, columns_of
from include.contracts.queries import QueryConfig, QueryName
from include.contracts.section import Section

#: A name that is valid at once as TorchServe model, InferenceService, DAG id part and registry entry.
ModelName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


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
    allowed_sources: list[str] = Field(
        [],
        description="What the trigger form may name besides the sources above, the model's own folder of the store and "
        "`hub:owner/name`: folders, `s3://bucket/folder`, `https://host`, `https://` for every public host.",
    )

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

    @property
    def smallest_class_share(self) -> float:
        """The share of the training rows that every class must have."""
        return min(0.02, 0.1 / len(self.labels)) if self.min_class_share is None else self.min_class_share

    def with_sources(self, train: list[str], evaluation: list[str] | None) -> DataConfig:
        """Return the same settings for other data."""
        return self.model_copy(update={"train": list(train), "evaluation": list(evaluation or [])})


class TrainingConfig(Section):
    """How a model is trained; what the form asks for is in :mod:`include.contracts.form`."""

    base_model: str = Field(
        "scratch",
        min_length=1,
        title="Base model",
        description="Hub id, local directory, or `scratch` (small DistilBERT, no download).",
    )
    base_model_revision: str | None = Field(None, description="Commit, branch or tag of a Hub id; none: the newest.")
    epochs: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None,
        title="Epochs",
        description="Passes over the training rows, at most; early stopping may end it sooner. None: chosen for the "
        "base model and the number of rows.",
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        title="Learning rate",
        description="At its peak: it rises during the first tenth of the steps and then falls to 0. None: chosen for "
        "the base model.",
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] = Field(
        16, title="Batch size", description="Texts in one training step, on each device."
    )
    max_length: Annotated[int, Field(ge=8, le=8192)] = Field(
        128,
        title="Longest text, in tokens",
        description="Longer texts are truncated, and the answer says so.",
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        42, title="Seed", description="Of everything that is random: same seed and data, same model."
    )
    early_stopping_patience: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Epochs without a better macro F1 before training stops; a tenth of the rows is held out to tell. "
        "0: all rows, all epochs. None: 0 for `scratch` with chosen epochs, else 2.",
    )


class GateConfig(Section):
    """What a candidate must reach on the evaluation rows to be deployed at all; docs/gate.md explains each of them."""

    max_regression: Fraction = Field(
        0.01,
        title="Macro F1 below the live model, at most",
        description="Margin on the same rows: the whole interval of the difference must lie above minus this.",
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.95, description="Of the interval around the difference; its lower bound must lie above minus the margin."
    )
    when_inconclusive: Literal["reject", "release"] = Field(
        "reject",
        title="When the rows are too few to tell",
        description="When the interval holds both sides of the margin: too few rows to tell. `release` goes by the "
        "difference that was measured.",
    )
    must_beat_baseline: bool = Field(
        True,
        title="Must beat the simple baseline",
        description="Macro F1 must be above that of TF-IDF with logistic regression, or be 1.",
    )
    min_accuracy: Fraction = Field(0.0, title="Accuracy, at least", description="Accuracy, at least.")
    min_macro_f1: Fraction = Field(0.0, title="Macro F1, at least", description="Macro F1, at least.")
    min_class_f1: Fraction | dict[str, Fraction] = Field(
        0.0, description="F1 of every class, at least, or `{label: F1}` for some of them."
    )
    min_slice_macro_f1: Fraction | dict[str, Fraction] = Field(
        0.0, description="Macro F1 of every slice of the rows, at least, or `{slice: macro F1}` for some of them."
    )
    min_slice_rows: Annotated[int, Field(ge=1)] = Field(
        50, description="A slice with fewer rows is reported and decides nothing."
    )
    max_slice_regression: Fraction | dict[str, Fraction] = Field(
        0.05,
        description="A slice whose macro F1 is shown to lie further below the live model's is a no; `{slice: margin}` "
        "for some of them, the others keep 0.05.",
    )
    max_expected_calibration_error: Fraction = Field(1.0, description="Expected calibration error, at most.")
    max_calibration_regression: Fraction = Field(
        0.1, description="How much it may lie above the live model's on the same rows."
    )
    max_latency_ratio: Annotated[float, Field(gt=0)] = Field(
        3.0,
        title="Latency, times the live model's, at most",
        description="Median latency of one text divided by the live model's, at most.",
    )
    max_size_ratio: Annotated[float, Field(gt=0)] = Field(
        3.0,
        title="Size, times the live model's, at most",
        description="Size of the archive divided by the live model's, at most.",
    )


class ApprovalConfig(Section):
    """Whether a person has to say yes before the candidate is deployed."""

    required: bool = Field(False, description="Default of the form's `require_approval`.")
    timeout_hours: Annotated[float, Field(gt=0)] = Field(24, description="No answer within this time is a no.")
    approvers: list[str] = Field(
        [], description="Ids of the only users who may answer, as Airflow's auth manager has them; empty: all who may."
    )
    show_texts: bool = Field(
        True, description="Show rows on which both models disagree; Airflow keeps these texts in its database."
    )


class AlertsConfig(Section):
    """Who is told of what, and when something has gone on for too long."""

    connections: dict[Literal["quiet", "normal", "loud"], str] = Field(
        {},
        description="Airflow connection for the alerts of a severity, where it is not `connections.alerts`; `none`: "
        "nobody is told.",
    )
    max_age_days: Annotated[float, Field(gt=0)] | None = Field(
        None, description="A live model that was trained longer ago is told; left out: it may grow as old as it likes."
    )
    max_release_hours: Annotated[float, Field(gt=0)] | None = Field(
        None, description="A release that is not over so long after it was asked for is told; left out: never."
    )
    disagreement_grace_minutes: Annotated[float, Field(ge=0)] = Field(
        30, description="So long may registry and serving disagree, or not answer, before somebody is told."
    )
    tell_success: bool = Field(False, description="Whether a release that went live is told as well, quietly.")
    remind_after_hours: Annotated[float, Field(gt=0)] = Field(
        24, description="What goes on is told again after so long."
    )


class RetentionConfig(Section):
    """How long the files of a version stay in the model store. Its record in the registry always stays."""

    keep_releases: Annotated[int, Field(ge=1)] = Field(
        10, description="Newest releases that can be put back. The live and the previous one stay besides."
    )
    keep_unreleased: Annotated[int, Field(ge=0)] = Field(
        3, description="Newest candidates that were rejected or failed, to look into."
    )
    grace_days: Annotated[float, Field(ge=1)] = Field(
        7, description="A younger version stays whatever it is, also one that no record knows."
    )


class ServingConfig(Section):
    """How the model is served."""

    runtime: Literal["torchserve", "native"] = Field(
        "torchserve",
        description="What serves it: TorchServe, or the server of docs/native-runtime.md. A version is tried, judged, "
        "served and put back on one of them; another value counts for the releases from then on.",
    )
    workers: Annotated[int, Field(ge=1)] = Field(1, description="Processes that predict, each with the model.")
    batch_size: Annotated[int, Field(ge=1)] = Field(16, description="Requests that the server may join.")
    max_batch_delay_ms: Annotated[int, Field(ge=1)] = Field(
        1, description="How long it waits to fill a batch; at 0 TorchServe would join two requests at most."
    )
    response_timeout_seconds: Annotated[int, Field(ge=1)] = Field(
        60, description="A worker that takes longer is restarted."
    )
    top_k: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Labels in an answer, the likeliest first, unless a request asks for another number with `top_k`; "
        "0: all of them.",
    )
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto",
        description="`auto`: the fastest of PyTorch and ONNX Runtime in 32-bit floats, PyTorch in bfloat16 where the "
        "processor computes in it, and ONNX Runtime in 8-bit integers, measured while packaging, whose answers stay "
        "within the two bounds below.",
    )
    max_probability_difference: Fraction = Field(
        0.05, description="Largest difference to the model as it was trained, on a sample of the evaluation rows."
    )
    max_label_changes: Fraction = Field(0.01, description="Share of these rows that may get another label.")


class ResourcesConfig(Section):
    """What each step of the pipeline asks for in a cluster, as parameters of the pipeline."""

    cpu: str = Field("2", description="CPUs, as Kubernetes writes them.")
    memory: str = Field("4Gi", description="Memory, as Kubernetes writes it.")
    accelerator_type: str = Field("nvidia.com/gpu", description="Only used when `accelerator_count` is above 0.")
    accelerator_count: Annotated[int, Field(ge=0)] = Field(0, description="GPUs for training.")


class TrainedModel(Section):
    """The sections of a model's YAML that the pipelines go by; ``model_releases.config`` adds those of a release."""

    model_config = ConfigDict(extra="ignore")

    name: ModelName = Field(description="Name in the URL, the registry and the DAG id.")
    data: DataConfig
    training: TrainingConfig = TrainingConfig()
    gate: GateConfig = GateConfig()
    serving: ServingConfig = ServingConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="after")
    def _days_are_of_something(self) -> TrainedModel:
        if self.data.last is not None and not self.data.is_dated:
            raise ValueError("data.last: neither does a source hold {date}, nor is a date_column named")
        return self
