"""Scores equal those of scikit-learn, and the formulas of their sources."""

from __future__ import annotations

import json

import numpy as np
import pytest

from include.classifier import metrics
from include.contracts.kinds.text_classifier import Scores


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4) / 2, size=200)
    # Class 3 stands neither in the rows nor among the predictions.
    probabilities[:, 3] = 0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return random.integers(0, 3, size=200), probabilities


def test_the_most_mistaken_classes_come_in_their_own_order():
    matrix = np.array([[5, 0, 0, 0], [0, 3, 2, 0], [0, 1, 4, 0], [1, 0, 0, 4]])
    # Wrong rows of and for each: 1, 3, 3, 1.
    assert metrics.most_mistaken(matrix, 2) == [1, 2]
    assert metrics.most_mistaken(matrix, 3) == [0, 1, 2]
    assert metrics.most_mistaken(matrix, 9) == [0, 1, 2, 3]


def test_scores_equal_those_of_scikit_learn(rows):
    from sklearn import metrics as reference

    truth, probabilities = rows
    predicted = probabilities.argmax(axis=1)
    matrix = metrics.confusion_matrix(truth, predicted, 4)
    assert (matrix == reference.confusion_matrix(truth, predicted, labels=range(4))).all()
    assert metrics.accuracy(matrix) == pytest.approx(reference.accuracy_score(truth, predicted))
    assert metrics.macro_f1(matrix) == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    assert metrics.log_loss(truth, probabilities) == pytest.approx(
        reference.log_loss(truth, probabilities, labels=range(4))
    )
    expected = reference.precision_recall_fscore_support(truth, predicted, labels=range(4), zero_division=0)
    for found, wanted in zip(metrics.per_class(matrix).values(), expected, strict=True):
        assert found == pytest.approx(wanted)


def test_log_loss_stays_finite_when_the_truth_had_no_probability():
    assert np.isfinite(metrics.log_loss(np.array([1]), np.array([[1.0, 0.0]])))


def test_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy():
    # Bin (0.6, 0.667]: two rows, one right: gap 0.65 - 0.5. Bin (0.867, 0.933]: two rows, both right: gap 0.1.
    probabilities = np.array([[0.65, 0.35], [0.65, 0.35], [0.9, 0.1], [0.9, 0.1]])
    truth = np.array([0, 1, 0, 0])
    assert metrics.expected_calibration_error(truth, probabilities) == pytest.approx((2 * 0.15 + 2 * 0.1) / 4)


def test_calibration_error_puts_a_bin_s_upper_edge_into_it():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.6, 0.4]])
    truth = np.array([0, 0, 0])
    assert metrics.expected_calibration_error(truth, probabilities, n_bins=2) == pytest.approx((0.5 + 0.4) / 3)


def test_slices_split_rows_by_words_and_cover_each_row_once():
    texts = ["a"] * 3 + ["a b c"] * 3 + ["a b c d e"] * 3
    slices = metrics.length_slices(texts)
    assert [part.name for part in slices] == ["up to 1 words", "2 to 3 words", "more than 3 words"]
    assert sum(part.mask.astype(int) for part in slices).tolist() == [1] * 9


def test_slices_are_fewer_when_all_texts_are_equally_long():
    assert [(part.name, part.mask.sum()) for part in metrics.length_slices(["a b"] * 5)] == [("up to 2 words", 5)]


def test_scores_are_those_of_candidate_json(rows):
    truth, probabilities = rows
    slices = metrics.length_slices(["x y"] * 200)
    found = metrics.scores(truth, probabilities, labels=["a", "b", "c", "d"], slices=slices, version=None)
    Scores.model_validate_json(json.dumps(found))
    assert found["slices"][0]["rows"] == 200
    assert sum(scores["support"] for scores in found["per_class"].values()) == 200
