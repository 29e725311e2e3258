"""Scores of a classifier, from true classes and predicted probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15

Classes: TypeAlias = NDArray[np.int64]
Probabilities: TypeAlias = NDArray[np.float64]


def confusion_matrix(truth: Classes, predicted: Classes, n_classes: int) -> NDArray[np.int64]:
    """Count rows by true class (row) and predicted class (column).

    :param truth: class indices, shape ``(n_rows,)``.
    :param predicted: class indices, shape ``(n_rows,)``.
    """
    return np.bincount(truth * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def per_class(matrix: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return precision, recall, F1 and support, each of shape ``(n_classes,)``; a share of nothing is 0."""
    hits, predicted, support = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(predicted + support, 1),
        "support": support,
    }


def accuracy(matrix: NDArray[np.int64]) -> float:
    """Return the share of rows on the diagonal."""
    return float(np.trace(matrix) / matrix.sum())


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Return the mean F1 of the classes that stand in the rows or in the predictions.

    A class that is in neither has no F1; scikit-learn's ``f1_score(average="macro")`` leaves it out as well.
    """
    present = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    return float(per_class(matrix)["f1"][present].mean())


def log_loss(truth: Classes, probabilities: Probabilities) -> float:
    """Return the mean negative logarithm of the true class's probability, in nats.

    :param probabilities: shape ``(n_rows, n_classes)``, each row summing to 1.
    """
    # A probability of exactly 0 would make one row outweigh all others: the smallest is that of scikit-learn.
    smallest = np.finfo(np.float64).eps
    return float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], smallest, 1)).mean())


def expected_calibration_error(truth: Classes, probabilities: Probabilities, n_bins: int = CALIBRATION_BINS) -> float:
    """Return by how much confidence differs from accuracy, on average over rows.

    Rows are put into equal-width bins ``(i/n, (i+1)/n]`` by the probability of the predicted class; the differences of
    the bins are weighted by their rows. Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural
    Networks", ICML 2017, equation 3.

    :param probabilities: shape ``(n_rows, n_classes)``.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    surplus = np.bincount(bins, weights=confidence - correct, minlength=n_bins)
    return float(np.abs(surplus).sum() / len(truth))


def most_mistaken(matrix: NDArray[np.int64], count: int) -> list[int]:
    """Return the classes with the most wrong rows, their own and those taken for them; in the order of the classes.

    :param matrix: rows by true class (row) and predicted class (column).
    """
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
    return sorted(int(each) for each in np.argsort(-wrong, kind="stable")[:count])


class Slice(NamedTuple):
    """Some of the rows."""

    name: str
    mask: NDArray[np.bool_]  #: Shape (rows,).
    rule: str | None = None  #: In words, where somebody has named the slice.


def length_slices(texts: Sequence[str]) -> list[Slice]:
    """Split rows into a shorter, a middle and a longer third by their number of words.

    :param texts: cleaned texts.
    :return: fewer than three where lengths repeat so much that a third is empty.
    """
    words = np.array([len(text.split()) for text in texts])
    shorter, longer = (int(bound) for bound in np.quantile(words, [1 / 3, 2 / 3], method="inverted_cdf"))
    thirds = [
        Slice(f"up to {shorter} words", words <= shorter),
        Slice(f"{shorter + 1} to {longer} words", (words > shorter) & (words <= longer)),
        Slice(f"more than {longer} words", words > longer),
    ]
    return [third for third in thirds if third.mask.any()]


def scores(
    truth: Classes, probabilities: Probabilities, *, labels: Sequence[str], slices: Sequence[Slice], version: str | None
) -> dict[str, Any]:
    """Return everything that ``candidate.json`` says about one model (``scores`` in its schema).

    :param truth: class indices, shape ``(n_rows,)``.
    :param probabilities: shape ``(n_rows, n_classes)``, columns in the order of ``labels``.
    :param slices: each with a row at least.
    :param version: of the model; ``None`` for one that has none.
    """
    predicted = probabilities.argmax(axis=1)
    matrix = confusion_matrix(truth, predicted, len(labels))
    classes = per_class(matrix)
    return {
        "version": version,
        "accuracy": accuracy(matrix),
        "macro_f1": macro_f1(matrix),
        "log_loss": log_loss(truth, probabilities),
        "expected_calibration_error": expected_calibration_error(truth, probabilities),
        "per_class": {
            label: {name: values[index].item() for name, values in classes.items()}
            for index, label in enumerate(labels)
        },
        "slices": [
            _slice(part, confusion_matrix(truth[part.mask], predicted[part.mask], len(labels))) for part in slices
        ],
    }


def _slice(part: Slice, matrix: NDArray[np.int64]) -> dict[str, Any]:
    figures = {"rows": int(matrix.sum()), "accuracy": accuracy(matrix), "macro_f1": macro_f1(matrix)}
    return {"name": part.name} | figures | ({"rule": part.rule} if part.rule else {})
