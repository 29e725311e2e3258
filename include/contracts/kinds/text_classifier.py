"""``candidate.json`` of a text classifier: what its pipeline measured of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from include.contracts.candidate import Archive, Candidate
from include.contracts.data.changes import DataChanges
from include.contracts.documents import Count, NotNegative, Part, Positive, Sha256, Share
from include.contracts.metrics import MAIN_METRICS
from include.contracts.monitoring.shadow import Shadow
from include.contracts.registry_tags import DATA_CHANGES_FACT
from include.contracts.version.runtimes import UNNAMED_RUNTIME, Runtime

Precision = Literal["torch-float32", "torch-bfloat16", "onnx-float32", "onnx-int8"]
Change = Annotated[float, Field(ge=-1, le=1)]


def _renamed(name: str, before: str, **details: Any) -> Any:
    """Return a field that documents of version 0.1.0 hold under another name; read until the version after next."""
    return Field(validation_alias=AliasChoices(name, before), **details)


class TrainedOn(Part):
    """The data set that it was trained and evaluated on."""

    uri: str
    sha256: Sha256
    train_rows: Positive
    evaluation_rows: Positive


class ClassScores(Part):
    """How well one class is found."""

    precision: float
    recall: float
    f1: float
    support: int


class Interval(Part):
    """The bounds of a share."""

    low: Share
    high: Share


class SliceScores(Part):
    """How well a part of the rows is labelled."""

    name: str
    rule: str | None = Field(None, description="Of a slice that the model's YAML names, in words; null: by length")
    rows: Positive
    accuracy: float
    macro_f1: float
    accuracy_interval: Interval | None = Field(None, description="Wilson's; of the candidate alone")
    macro_f1_interval: Interval | None = Field(None, description="From rows drawn again; of the candidate alone")


class Scores(Part):
    """What a model reached on the evaluation rows."""

    version: str | None
    accuracy: Share
    macro_f1: Share
    log_loss: NotNegative
    expected_calibration_error: Share
    per_class: dict[str, ClassScores]
    slices: list[SliceScores] = Field(description="Those that the model's YAML names, and by text length")


class Metrics(Part):
    """All three on the same evaluation rows."""

    candidate: Scores
    live: Scores | None = _renamed("live", "champion", description="The live model; null before the first release")
    baseline: Scores = Field(description="TF-IDF and logistic regression, trained on the same rows as the candidate")


class Difference(Part):
    """Candidate minus live model, and the bounds of its interval."""

    difference: Change
    low: Change
    high: Change


class McNemar(Part):
    """Rows that one of both labels rightly and the other does not, and the two-sided p-value."""

    candidate_only: Count
    live_only: Count = _renamed("live_only", "champion_only")
    p_value: Share


class SliceDifference(Part):
    """Candidate against live model on a part of the rows."""

    name: str
    rows: Positive
    macro_f1: Difference


class WorstSlice(Part):
    """What nobody has named, and the candidate does worst on: chosen by one half of the rows, measured on the other."""

    _shown = ("kind",)

    kind: Literal["length", "script", "sign", "word", "pair"]
    description: str = Field(description="In words, without anything of a text")
    word: str | None = Field(description="A word, or two, of users' texts")
    tried: Positive = Field(description="Conditions")
    rows: Positive = Field(description="Of both halves")
    measured_rows: Positive = Field(description="Of the half that measures, as are all figures here")
    accuracy: Share
    accuracy_interval: Interval
    accuracy_elsewhere: Share = Field(description="Of all other rows")
    difference: Difference = Field(description="Accuracy of the slice minus that of all other rows")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="Of both intervals")
    stands_out: bool = Field(description="Whether the whole interval of the difference lies below 0")


class Latencies(Part):
    """Milliseconds for one text."""

    candidate: NotNegative
    live: NotNegative = _renamed("live", "champion")


class Sizes(Part):
    """Bytes."""

    candidate: Positive
    live: Positive = _renamed("live", "champion")


class Disagreement(Part):
    """A row that both label differently."""

    text: str
    label: str = Field(description="The true one")
    candidate: str
    live: str = _renamed("live", "champion")
    candidate_probability: Share
    live_probability: Share = _renamed("live_probability", "champion_probability")


class Comparison(Part):
    """Candidate against the live model on the same evaluation rows."""

    version: str = Field(description="Of the live model")
    rows: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="Of every interval here")
    resamples: Positive
    macro_f1: Difference
    accuracy: Difference
    mcnemar: McNemar
    per_class: dict[str, Difference] = Field(description="F1")
    slices: list[SliceDifference]
    latency_ms: Latencies = Field(
        description="Median over the same single texts, asked of both in turn in one process; a text counts by its "
        "fastest answer"
    )
    size_bytes: Sizes = Field(description="Of the archives")
    disagreements: list[Disagreement] = Field(
        max_length=20,
        description="Rows that both label differently, the most confident first, spread over the true labels",
    )


class Expected(Part):
    """What a model answers to a text."""

    _shown = ("label",)

    label: str
    probabilities: dict[str, Share]


class GoldenExample(Part):
    """A text with the answer that the packed model gave when it was evaluated."""

    _shown = ("label",)

    text: str
    label: str = Field(description="What the packed model answered when it was evaluated")
    probabilities: dict[str, Share]
    computed_in: dict[Precision, Expected] = Field(
        {}, description="What it answers in a kernel that a server may have to fall back to"
    )

    def expected_in(self, kernel: str | None) -> Expected | GoldenExample:
        """Return what is to be answered by a server.

        :param kernel: that the server says it had to fall back to; ``None``: it says nothing.
        :raises KeyError: when nothing was recorded for such a kernel.
        """
        by_name = {str(name): answer for name, answer in self.computed_in.items()}
        return self if kernel is None else by_name[kernel]


class MeasuredPrecision(Part):
    """One way to compute, as it was measured while packaging."""

    variant: Precision
    texts_per_second: NotNegative = Field(description="In one process, without a server")
    largest_difference: NotNegative = Field(description="Of a probability, to the model as it was trained")
    label_changes: Share = Field(description="Share of the rows that get another label")
    allowed: bool = Field(description="Within the bounds of the model's YAML")


class ChosenPrecision(Part):
    """How the packed model computes, and how that was chosen."""

    chosen: Precision
    reason: str
    rows: Count = Field(description="Evaluation rows that were compared")
    measured: list[MeasuredPrecision]
    needs: list[str] = Field(
        [], description="What a processor must have for it, as Linux calls it; else torch-float32 is computed"
    )
    features: list[str] = Field([], description="Of these and their like, what the processor had that measured")


class SameFeatures(Part):
    """What training and the packed model's own code made of the same evaluation rows."""

    rows: Positive
    tokens: Positive = Field(description="Of all these rows")
    sha256: Sha256 = Field(description="Of the token ids that reached the model, the same on both sides")


class Served(Part):
    """Measured on a real server while packaging."""

    runtime: Runtime = Field(UNNAMED_RUNTIME, description="That server; absent before it was a choice")
    load_seconds: NotNegative
    p50_ms: NotNegative
    p95_ms: NotNegative
    parity_rows: Positive
    largest_difference: NotNegative = Field(description="Between served and in-process probabilities")
    same_features: SameFeatures | None = Field(None, description="Absent before it was checked")
    precision: ChosenPrecision | None = Field(None, description="Absent before it was a choice: torch-float32")


class Trained(Part):
    """How it was trained."""

    base_model: str
    base_model_revision: str | None
    parameters: dict[str, Any]
    seconds: NotNegative
    samples_per_second: NotNegative
    epochs_run: NotNegative
    began_at_steps: list[Count] = Field(
        [],
        description="Steps that its starts have gone on from, where its state was kept; it was broken off before each",
    )


class TextClassifierCandidate(Candidate):
    """A packed model and the evidence about it."""

    archive: Archive
    labels: list[str] = Field(min_length=2)
    dataset: TrainedOn
    metrics: Metrics
    comparison: Comparison | None = Field(
        None, description="Null or absent where there is no live model to compare with"
    )
    worst_slice: WorstSlice | None = Field(
        None, description="Null or absent where there are too few rows, or no condition that enough of them fulfil"
    )
    data_changes: DataChanges | None = Field(
        None, description="Null or absent where nothing is known of a live version's data set"
    )
    shadow: Shadow | None = Field(
        None, description="What it answers to captured requests; null or absent where that is not asked"
    )
    golden_examples: list[GoldenExample] = Field(min_length=1, max_length=16)
    held_out_texts: list[str] = Field(
        [], max_length=128, description="Evaluation rows to watch a rollout with, each label with its share"
    )
    serving: Served
    training: Trained
    packages: dict[str, str]

    @property
    def compared_version(self) -> str | None:
        """The live version that it was compared with."""
        return self.metrics.live.version if self.metrics.live else None

    @property
    def model_format(self) -> str:
        """What a .mar is for KServe, whatever computes in it: ONNX Runtime does so in some."""
        return "pytorch"

    @property
    def model_format_version(self) -> str:
        """Of the format `pytorch`."""
        return "1"

    @property
    def runtime(self) -> str:
        """What it was judged on, and has to be served with."""
        return self.serving.runtime

    def figures(self) -> dict[str, float]:
        """Return the main metrics of all three models."""
        return {
            f"{who}.{metric.name}": getattr(scores, metric.name)
            for who, scores in self.metrics
            if scores
            for metric in MAIN_METRICS
        }

    def _facts(self) -> Iterator[tuple[str, Any]]:
        yield from super()._facts()
        dataset, training, serving = self.dataset, self.training, self.serving
        yield "dataset_uri", dataset.uri
        yield "dataset_sha256", dataset.sha256
        yield "train_rows", dataset.train_rows
        yield "evaluation_rows", dataset.evaluation_rows
        yield "base_model", training.base_model
        yield "base_model_revision", training.base_model_revision
        yield "training_parameters", json.dumps(training.parameters, sort_keys=True)
        yield "serving_p95_ms", serving.p95_ms
        yield DATA_CHANGES_FACT, self.data_changes.line() if self.data_changes else None
        yield "features_sha256", serving.same_features.sha256 if serving.same_features else None
        yield "serving_precision", serving.precision.chosen if serving.precision else None
        if self.shadow:
            yield "shadow_requests", self.shadow.requests
            yield "shadow_changed_share", f"{self.shadow.changed.share:.4f}" if self.shadow.changed else None
