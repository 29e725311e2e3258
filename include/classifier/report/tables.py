"""What the tables of the report hold, from an evaluation and ``candidate.json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from include.classifier.metrics import CALIBRATION_BINS, Classes, Probabilities
from include.contracts.metrics import MAIN_METRICS

#: The most frequent mistakes that are listed.
MOST_MISTAKES = 10

#: Numbers of a setting that are written out, such as the weights of the classes.
MOST_LISTED = 20


@dataclass(frozen=True)
class Difference:
    """Candidate minus live model on the same rows, with its interval.

    :param name: of the metric, label or slice.
    """

    name: str
    difference: float
    low: float
    high: float

    @classmethod
    def read(cls, name: str, found: Mapping[str, float]) -> Difference:
        """Read it as ``candidate.json`` has it."""
        return cls(name, found["difference"], found["low"], found["high"])

    @property
    def verdict(self) -> Literal["better", "worse", "unclear"]:
        """Where the interval lies: above 0, below it, or on both sides."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "unclear"

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{signed(self.difference)} ({signed(self.low)} to {signed(self.high)})"


class CalibrationBin(NamedTuple):
    """Rows whose confidence lies between two bounds.

    :param confidence: their mean probability of the predicted label.
    :param accuracy: the share of them that is right.
    """

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"confidence {self.low:.2f} to {self.high:.2f}: {self.rows} rows, "
            f"mean confidence {self.confidence:.3f}, {self.accuracy:.3f} of them right"
        )


class MetricRow(NamedTuple):
    """One metric of all three models; ``None`` where there is no live model.

    :param change: candidate minus live model; with an interval where one was computed.
    """

    name: str
    candidate: float
    live: float | None
    baseline: float
    change: Difference | float | None
    higher_is_better: bool


class ClassRow(NamedTuple):
    """One label."""

    number: int
    label: str
    scores: Mapping[str, Any]
    live_f1: float | None
    change: Difference | None


class SliceRow(NamedTuple):
    """One part of the evaluation rows.

    :param bounds: of the candidate's macro F1 and accuracy, in words; empty where there are none.
    """

    name: str
    scores: Mapping[str, Any]
    live_f1: float | None
    change: Difference | None
    bounds: Mapping[str, str]


class Mistake(NamedTuple):
    """How often one label is taken for another.

    :param live_rows: the same of the live model, ``None`` where there is none.
    """

    label: str
    predicted: str
    rows: int
    live_rows: int | None


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.4f}"


def metric_rows(metrics: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> list[MetricRow]:
    """Return the rows of the first table.

    :param metrics: as in ``candidate.json``.
    :param comparison: the same; ``None`` without a live model.
    """
    rows = []
    for key, name, higher_is_better in MAIN_METRICS:
        candidate, live = metrics["candidate"][key], (metrics["live"] or {}).get(key)
        change: Difference | float | None = None if live is None else candidate - live
        if comparison and key in comparison:
            change = Difference.read(name, comparison[key])
        rows.append(MetricRow(name, candidate, live, metrics["baseline"][key], change, higher_is_better))
    return rows


def class_rows(metrics: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> list[ClassRow]:
    """Return a row for each label, in the order of the labels."""
    live = (metrics["live"] or {}).get("per_class", {})
    changes = (comparison or {}).get("per_class", {})
    return [
        ClassRow(
            number,
            label,
            found,
            live[label]["f1"] if label in live else None,
            Difference.read(label, changes[label]) if label in changes else None,
        )
        for number, (label, found) in enumerate(metrics["candidate"]["per_class"].items(), start=1)
    ]


def slice_rows(metrics: Mapping[str, Any], comparison: Mapping[str, Any] | None) -> list[SliceRow]:
    """Return a row for each slice."""
    live = {each["name"]: each["macro_f1"] for each in (metrics["live"] or {}).get("slices", ())}
    changes = {each["name"]: each["macro_f1"] for each in (comparison or {}).get("slices", ())}
    return [
        SliceRow(
            found["name"],
            found,
            live.get(found["name"]),
            Difference.read(found["name"], changes[found["name"]]) if found["name"] in changes else None,
            {name: _bounds(found.get(f"{name}_interval")) for name in ("macro_f1", "accuracy")},
        )
        for found in metrics["candidate"]["slices"]
    ]


def _bounds(found: Mapping[str, float] | None) -> str:
    return f"{found['low']:.2f} to {found['high']:.2f}" if found else ""


def calibration_bins(
    truth: Classes, probabilities: Probabilities, n_bins: int = CALIBRATION_BINS
) -> list[CalibrationBin]:
    """Return the bins that have rows, as ``metrics.expected_calibration_error`` makes them.

    :param truth: class indices, shape ``(n_rows,)``.
    :param probabilities: shape ``(n_rows, n_classes)``.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    places = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    return [
        CalibrationBin(
            int(place) / n_bins,
            (int(place) + 1) / n_bins,
            int((places == place).sum()),
            float(confidence[places == place].mean()),
            float(correct[places == place].mean()),
        )
        for place in np.unique(places)
    ]


def mistakes(candidate: NDArray[np.int64], live: NDArray[np.int64] | None, labels: Sequence[str]) -> list[Mistake]:
    """Return the candidate's most frequent mistakes, the most frequent first.

    :param candidate: rows by true (row) and predicted (column) label, shape ``(n_labels, n_labels)``.
    :param live: the same of the live model.
    """
    wrong = candidate.copy()
    np.fill_diagonal(wrong, 0)
    frequent = np.argsort(-wrong, axis=None, kind="stable")[:MOST_MISTAKES]
    places = [tuple(map(int, place)) for place in zip(*np.unravel_index(frequent, wrong.shape), strict=True)]
    return [
        Mistake(
            labels[row],
            labels[column],
            int(wrong[row, column]),
            None if live is None else int(live[row, column]),
        )
        for row, column in places
        if wrong[row, column]
    ]


def facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and value of what one needs to make or find this model again."""
    dataset, archive, training = document["dataset"], document["archive"], document["training"]
    revision = training["base_model_revision"]
    yield "Data set", dataset["uri"]
    yield "Data set, SHA-256", dataset["sha256"]
    yield "Rows", f"{dataset['train_rows']:,} to train on, {dataset['evaluation_rows']:,} to evaluate on"
    yield "Archive", f"{archive['uri']}/{archive['file']}"
    yield "Archive, SHA-256", archive["sha256"]
    yield "Base model", f"{training['base_model']} at {revision}" if revision else training["base_model"]
    yield "Code revision", document["code_revision"]
    yield "MLflow run", document["tracking_run_id"] or "none"
    yield "Packages", ", ".join(f"{name} {version}" for name, version in document["packages"].items())


def training_facts(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and value of what the training was asked for and what it took."""
    yield "Epochs that ran", f"{training['epochs_run']:g}"
    yield "Time", f"{training['seconds']:,.0f} s"
    yield "Speed", f"{training['samples_per_second']:,.0f} rows/s"
    for name, value in training["parameters"].items():
        if value is not None and name not in ("base_model", "base_model_revision"):
            yield name.replace("_", " ").capitalize(), _words(value)


def served_rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, candidate's and live model's figure of what serving costs; an empty text where it is not known."""
    comparison, serving = document.get("comparison") or {}, document["serving"]
    if latency := comparison.get("latency_ms"):
        yield "latency of one text, median", f"{latency['candidate']:.1f} ms", f"{latency['live']:.1f} ms"
    size = comparison.get("size_bytes") or {"candidate": document["archive"]["size_bytes"]}
    yield "archive", _megabytes(size["candidate"]), _megabytes(size["live"]) if "live" in size else ""
    server = {"native": "the native server"}.get(serving.get("runtime", ""), "TorchServe")
    yield f"{server}'s answer to one text, median", f"{serving['p50_ms']:.1f} ms", ""
    yield f"{server}'s answer to one text, 95th percentile", f"{serving['p95_ms']:.1f} ms", ""
    yield "time to load", f"{serving['load_seconds']:.1f} s", ""
    if precision := serving.get("precision"):
        yield "runtime and precision", f"{precision['chosen']} ({precision['reason']})", ""
        if needs := precision.get("needs"):
            yield "needs of the processor", f"{', '.join(needs)}; torch-float32 is computed without", ""
        for each in precision["measured"]:
            differs = f"probabilities differ by {each['largest_difference']:.4f}, {each['label_changes']:.1%} of labels"
            yield f"measured: {each['variant']}", f"{each['texts_per_second']:,.1f} texts/s, {differs}", ""


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def _words(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) > MOST_LISTED:
        return f"{len(value):,} values from {_words(min(value))} to {_words(max(value))}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_words(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
