"""The simple model that a candidate has to beat."""

from __future__ import annotations

import numpy as np

from include.classifier.evaluation import baseline
from include.classifier.evaluation.baseline import baseline_probabilities

TRAIN = ["good food", "good place", "bad food", "bad place"]
CLASSES = [2, 2, 0, 0]


def test_it_learns_and_gives_classes_without_training_rows_no_probability():
    found = baseline_probabilities(TRAIN, CLASSES, ["good", "bad"], n_classes=3)
    assert found.shape == (2, 3)
    assert found.argmax(axis=1).tolist() == [2, 0]
    assert (found[:, 1] == 0).all()
    assert np.allclose(found.sum(axis=1), 1)


def test_it_learns_when_no_word_stands_in_two_rows():
    found = baseline_probabilities(["superb", "awful"], [1, 0], ["superb", "awful"], n_classes=2)
    assert found.argmax(axis=1).tolist() == [1, 0]


def test_many_classes_go_by_fewer_words(monkeypatch):
    monkeypatch.setattr(baseline, "_MOST_WEIGHTS", 6)
    texts = ["good food", "good food", "bad place", "bad place", "bad"]
    found = baseline_probabilities(texts, [0, 0, 1, 1, 1], ["food", "bad"], n_classes=3)
    # Two words for three classes: "bad", which stands there most often, and one of the others.
    assert found[1].argmax() == 1
    assert np.allclose(found.sum(axis=1), 1)


def test_class_weights_lift_the_rare_class():
    texts, classes = [*TRAIN[:1] * 9, "good service"], [0] * 9 + [1]
    plain = baseline_probabilities(texts, classes, ["good"], n_classes=2)
    weighted = baseline_probabilities(texts, classes, ["good"], n_classes=2, class_weights=[10 / 18, 5.0])
    assert weighted[0, 1] > plain[0, 1]
