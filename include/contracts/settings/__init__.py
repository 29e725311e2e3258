"""The sections of a model's YAML that are no cluster's: what they are called, what they may be, and what they mean.

Rules, operators and training read them from here; ``model_releases.config`` makes a whole model of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from include.contracts.data.changes import DataChangeConfig
from include.contracts.section import Fraction, Section
from include.contracts.settings.data import Column, DataConfig
from include.contracts.settings.training import TrainingConfig
from include.contracts.version.archives import MODEL_NAME

__all__ = (
    "AlertsConfig",
    "ApprovalConfig",
    "Column",
    "DataConfig",
    "Fraction",
    "GateConfig",
    "ModelName",
    "ResourcesConfig",
    "RetentionConfig",
    "ServingConfig",
    "TrainedModel",
    "TrainingConfig",
)

#: A name that is valid at once as TorchServe model, InferenceService, DAG id part and registry entry.
ModelName = Annotated[str, Field(pattern=MODEL_NAME)]


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
    equal_groups: dict[str, Annotated[list[str], Field(min_length=2)]] = Field(
        {},
        description="Name -> slices of `data.slices` that the model must serve alike, such as `language: [German, "
        "English]`: a gap between the accuracies of two that is shown to be above `max_group_gap` is a no.",
    )
    max_group_gap: Fraction = Field(0.1, description="The largest gap that these may have.")
    data_change: DataChangeConfig = DataChangeConfig()
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
    max_changed_share: Fraction = Field(
        1.0,
        description="Share of replayed captured requests that get another answer than from the live model, at most: "
        "its whole interval must lie below; 1: any. Needs `capture.texts: keep`, see docs/shadow.md.",
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

    @model_validator(mode="after")
    def _processes_have_gpus(self) -> TrainedModel:
        if 0 < self.resources.accelerator_count < self.training.processes:
            raise ValueError(
                f"training.processes: {self.training.processes} processes need as many GPUs, and "
                f"resources.accelerator_count is {self.resources.accelerator_count}; set both to the same number"
            )
        return self
