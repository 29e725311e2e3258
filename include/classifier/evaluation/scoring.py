"""Scores a packed model, the live model and a simple baseline on the same evaluation rows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from include.classifier.data.dataset import Split
from include.classifier.evaluation.baseline import baseline_probabilities
from include.classifier.evaluation.comparison import compare, compare_costs
from include.classifier.evaluation.shadow import replay
from include.classifier.evaluation.slice_search import worst_slice
from include.classifier.evaluation.slices import with_intervals
from include.classifier.metrics import Classes, Probabilities, Slice, confusion_matrix, length_slices, scores
from include.classifier.packaging.archive import open_archive
from include.classifier.progress import report
from include.classifier.serving.predictor import Predictor, read_json
from include.contracts.monitoring.shadow_settings import Replay


class LiveModelError(RuntimeError):
    """The live model cannot be scored, so nobody can say whether the candidate is worse."""


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    :param metrics: ``candidate``, ``live`` (``None`` where there is none to compare with) and ``baseline``, each as
        ``scores`` in the schema of ``candidate.json``.
    :param confusion: of the candidate: rows by true (row) and predicted (column) label, shape ``(n_labels, n_labels)``.
    :param truth: class index of each evaluation row, shape ``(n_rows,)``.
    :param probabilities: of ``candidate``, ``live`` (left out where there is none) and ``baseline``, each of shape
        ``(n_rows, n_labels)``, columns in the order of the labels.
    :param comparison: candidate against the live model, as ``comparison`` in the schema of ``candidate.json``; ``None``
        where there is none.
    :param worst_slice: what the candidate does worst on, as ``worst_slice`` there.
    :param shadow: what it answers to captured requests, as ``shadow`` there; ``None`` where that is not asked.
    """

    metrics: dict[str, Any]
    confusion: NDArray[np.int64]
    truth: Classes
    probabilities: dict[str, Probabilities]
    comparison: dict[str, Any] | None = None
    worst_slice: dict[str, Any] | None = None
    shadow: dict[str, Any] | None = None


def evaluate(
    candidate_uri: str,
    *,
    candidate_sha256: str,
    live_uri: str,
    model: str,
    labels: Sequence[str],
    train: Split,
    evaluation: Split,
    slices: Sequence[Slice] | None = None,
    class_weights: Sequence[float] | None = None,
    confidence: float = 0.95,
    captured: Replay | None = None,
) -> Evaluation:
    """Score all three on the evaluation rows.

    :param candidate_uri: folder of the package with ``model-store/<model>.mar``.
    :param candidate_sha256: of the ``.mar``; what is scored is what was packed.
    :param live_uri: the same of the live model; empty before the first release.
    :param labels: names in the order of the classes in the splits.
    :param slices: of the evaluation rows, each with a row at least; default: by length.
    :param class_weights: of the candidate's training; the baseline gets them as well.
    :param confidence: of the intervals around the differences to the live model.
    :param captured: which captured requests the candidate answers besides; ``None``: none.
    :raises ArchiveError: when the candidate's archive is not what was packed.
    :raises LiveModelError: when the live model's archive cannot be read.
    """
    truth = np.asarray(evaluation.labels, dtype=np.int64)
    probabilities: dict[str, Probabilities] = {}
    metrics: dict[str, Any] = {"candidate": None, "live": None, "baseline": None}
    parts = length_slices(evaluation.texts) if slices is None else slices

    def score(who: str, found: Probabilities, version: str | None) -> None:
        probabilities[who] = found
        metrics[who] = scores(truth, found, labels=labels, slices=parts, version=version)
        report(_line(f"{who} {version}" if version else who, metrics[who]))

    candidate = Packed.read(candidate_uri, model, sha256=candidate_sha256)
    score("candidate", candidate.probabilities(evaluation.texts, labels), candidate.version)
    answers = probabilities["candidate"].argmax(axis=1)
    metrics["candidate"] = with_intervals(
        metrics["candidate"], parts, truth, answers, n_classes=len(labels), confidence=confidence
    )
    worst = worst_slice(evaluation.texts, answers == truth, parts, confidence=confidence)
    if worst:
        report(_worst_line(worst))
    shadow = replay(candidate.predictor.predict, captured, confidence=confidence) if captured else None
    comparison: dict[str, Any] | None = None
    if live := _live(live_uri, model, labels):
        score("live", live.probabilities(evaluation.texts, labels), live.version)
        comparison = compare(
            truth,
            probabilities["candidate"],
            probabilities["live"],
            labels=labels,
            texts=evaluation.texts,
            slices=parts,
            confidence=confidence,
        ) | compare_costs(candidate, live, evaluation.texts)
        report(_difference_line(comparison))
    baseline = baseline_probabilities(
        train.texts, train.labels, evaluation.texts, n_classes=len(labels), class_weights=class_weights
    )
    score("baseline", baseline, None)
    matrix = confusion_matrix(truth, answers, len(labels))
    return Evaluation(metrics, matrix, truth, probabilities, comparison, worst, shadow)


@dataclass(frozen=True)
class Packed:
    """A model as it came out of its archive."""

    predictor: Predictor
    version: str
    size_bytes: int

    @classmethod
    def read(cls, uri: str, model: str, *, sha256: str | None = None) -> Packed:
        import fsspec

        archive = f"{uri}/model-store/{model}.mar"
        with tempfile.TemporaryDirectory(prefix="evaluate-") as name:
            folder = open_archive(archive, Path(name), sha256=sha256)
            version = read_json(folder / "MAR-INF" / "MANIFEST.json")["model"]["modelVersion"]
            store, path = fsspec.core.url_to_fs(archive)
            return cls(Predictor.load(folder), str(version), int(store.size(path)))

    def answer(self, text: str) -> object:
        """Predict one text."""
        return self.predictor.predict([text])

    def probabilities(self, texts: Sequence[str], labels: Sequence[str]) -> Probabilities:
        """Return probabilities of shape ``(n_texts, n_labels)``, columns in the order of ``labels``."""
        predictions = self.predictor.predict(texts)
        if truncated := sum(prediction.truncated for prediction in predictions):
            report(
                f"evaluate: {truncated} of {len(texts)} texts have more than {self.predictor.max_length} tokens; "
                f"version {self.version} reads their beginning"
            )
        return np.array([[prediction.probabilities[label] for label in labels] for prediction in predictions])


def _live(uri: str, model: str, labels: Sequence[str]) -> Packed | None:
    """Return the live model when it can be compared.

    One that knows other labels cannot: changing the labels is a person's decision, after which there is nothing on the
    same rows to compare with. The order of the labels does not matter.
    """
    if not uri:
        return None
    try:
        live = Packed.read(uri, model)
    except (OSError, ValueError) as error:
        raise LiveModelError(
            f"The live model's package at {uri} cannot be read ({type(error).__name__}: {error}). Restore it, or "
            "release with an empty live_uri to go without the comparison."
        ) from error
    known = live.predictor.labels
    if set(known) != set(labels):
        report(
            f"evaluate: the live version {live.version} has other labels ({_others(known, labels)}) than the data set "
            f"({_others(labels, known)}); the candidate is not compared with it"
        )
        return None
    return live


def _others(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Return labels that only the first have: some of them, and how many there are."""
    names = [label for label in ours if label not in set(theirs)]
    return f"{len(names):,} that the other has not: {', '.join(names[:10])}" if names else "none that the other has not"


def _line(name: str, found: dict[str, Any]) -> str:
    return (
        f"evaluate: {name}: macro F1 {found['macro_f1']:.4f}, accuracy {found['accuracy']:.4f}, "
        f"log loss {found['log_loss']:.4f}, calibration error {found['expected_calibration_error']:.4f}"
    )


def _worst_line(found: dict[str, Any]) -> str:
    change = found["difference"]
    return (
        f"evaluate: of {found['tried']} slices that nobody has named, texts {found['description']} are the worst: "
        f"accuracy {found['accuracy']:.4f} of {found['measured_rows']} rows, {change['difference']:+.4f} against the "
        f"others ({100 * found['confidence']:g} % interval {change['low']:+.4f} to {change['high']:+.4f})"
    )


def _difference_line(found: dict[str, Any]) -> str:
    macro_f1, latency = found["macro_f1"], found["latency_ms"]
    return (
        f"evaluate: candidate minus live: macro F1 {macro_f1['difference']:+.4f}, {100 * found['confidence']:g} % "
        f"interval {macro_f1['low']:+.4f} to {macro_f1['high']:+.4f}; one text takes {latency['candidate']:.1f} ms, "
        f"the live model's answer {latency['live']:.1f} ms"
    )
