"""The comparison says what the rows say, slice by slice, and shows rows on which the models differ."""

from __future__ import annotations

import json

import numpy as np
import pytest

from include.classifier import metrics
from include.classifier.evaluation import comparison
from include.classifier.evaluation.comparison import MAX_DISAGREEMENTS, compare, compare_costs, disagreements

LABELS = ["bad", "fine", "good"]


def probabilities(rows: int, truth: np.ndarray, *, right: float, seed: int) -> np.ndarray:
    """Return a model's probabilities of shape ``(rows, 3)``; it is right about so often."""
    random = np.random.default_rng(seed)
    classes = np.where(random.random(rows) < right, truth, random.integers(0, 3, rows))
    values = random.dirichlet([1, 1, 1], rows)
    values[np.arange(rows), classes] += 1
    return values / values.sum(axis=1, keepdims=True)


@pytest.fixture
def answers():
    truth = np.random.default_rng(0).integers(0, 3, 300)
    texts = [" ".join(["word"] * (1 + row % 9)) + f" {row}" for row in range(300)]
    return truth, probabilities(300, truth, right=0.9, seed=1), probabilities(300, truth, right=0.6, seed=2), texts


def found(answers, **options):
    truth, candidate, live, texts = answers
    return compare(
        truth,
        candidate,
        live,
        **{"labels": LABELS, "texts": texts, "slices": metrics.length_slices(texts), "confidence": 0.95} | options,
    )


def test_differences_are_those_of_the_scores(answers):
    truth, candidate, live, texts = answers
    document = found(answers)
    own, other = (
        metrics.scores(truth, who, labels=LABELS, slices=metrics.length_slices(texts), version=None)
        for who in (candidate, live)
    )
    for name in ("macro_f1", "accuracy"):
        assert document[name]["difference"] == pytest.approx(own[name] - other[name])
        assert document[name]["low"] < document[name]["difference"] < document[name]["high"]
    for label in LABELS:
        expected = own["per_class"][label]["f1"] - other["per_class"][label]["f1"]
        assert document["per_class"][label]["difference"] == pytest.approx(expected)
    assert [(part["name"], part["rows"]) for part in document["slices"]] == [
        (part["name"], part["rows"]) for part in own["slices"]
    ]
    for part, mine, theirs in zip(document["slices"], own["slices"], other["slices"], strict=True):
        assert part["macro_f1"]["difference"] == pytest.approx(mine["macro_f1"] - theirs["macro_f1"])
    right = candidate.argmax(axis=1) == truth, live.argmax(axis=1) == truth
    assert document["mcnemar"]["candidate_only"] == (right[0] & ~right[1]).sum()
    assert document["mcnemar"]["live_only"] == (~right[0] & right[1]).sum()
    assert document["mcnemar"]["p_value"] < 0.001


def test_a_slice_s_interval_is_wider_than_that_of_all_rows(answers):
    document = found(answers)
    whole = document["macro_f1"]["high"] - document["macro_f1"]["low"]
    assert all(part["macro_f1"]["high"] - part["macro_f1"]["low"] > whole for part in document["slices"])


def test_the_same_model_leaves_no_doubt_and_a_like_minded_one_does(answers):
    truth, candidate, _, texts = answers
    nothing = {"difference": 0, "low": 0, "high": 0}
    same = found((truth, candidate, candidate + 1e-7, texts))
    assert same["macro_f1"] == same["accuracy"] == same["per_class"]["bad"] == same["slices"][0]["macro_f1"] == nothing
    assert same["disagreements"] == []
    other = found((truth, candidate, candidate**1.1, texts))
    assert other["macro_f1"]["difference"] == 0
    assert other["macro_f1"]["low"] < 0 < other["macro_f1"]["high"]


def test_disagreements_are_the_surest_of_each_label_in_turn(answers):
    truth, candidate, live, texts = answers
    rows = disagreements(truth, candidate, live, labels=LABELS, texts=texts)
    assert len(rows) == MAX_DISAGREEMENTS
    assert [row["label"] for row in rows[:6]] == LABELS * 2
    for label in LABELS:
        sureness = [row["candidate_probability"] + row["live_probability"] for row in rows if row["label"] == label]
        assert sureness == sorted(sureness, reverse=True)
        others = [
            candidate[row].max() + live[row].max()
            for row in range(len(truth))
            if LABELS[truth[row]] == label and candidate[row].argmax() != live[row].argmax()
        ]
        assert sureness == sorted(others, reverse=True)[: len(sureness)]
    first = texts.index(rows[0]["text"])
    assert rows[0]["candidate"] == LABELS[candidate[first].argmax()] != rows[0]["live"]


def test_disagreements_are_as_many_as_there_are(answers):
    truth, candidate, _, texts = answers
    live = candidate.copy()
    live[5] = np.roll(live[5], 1)
    (row,) = disagreements(truth, candidate, live, labels=LABELS, texts=texts)
    assert row["text"] == texts[5]


class Clock:
    """Time that passes only while somebody answers."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Packed:
    """A model that takes its time, and three times as long whenever the machine is busy: four times in five."""

    def __init__(self, clock: Clock, name: str, seconds: float, asked: list[tuple[str, str]]) -> None:
        self.version, self.size_bytes = f"version of {name}", len(name)
        self._clock, self._name, self._seconds, self._asked = clock, name, seconds, asked

    def answer(self, text: str) -> None:
        self._asked.append((self._name, text))
        turn = sum(name == self._name for name, _ in self._asked)
        self._clock.now += self._seconds * (1 if turn % 5 == 0 else 3)


@pytest.mark.parametrize("rows", [1, 7, 500])
def test_latency_is_measured_in_turn_on_the_same_texts(monkeypatch, rows):
    clock, asked = Clock(), []
    monkeypatch.setattr(comparison, "time", clock)
    texts = [f"text {row}" for row in range(rows)]
    costs = compare_costs(Packed(clock, "new", 0.03, asked), Packed(clock, "older", 0.01, asked), texts)
    assert costs == {
        "version": "version of older",
        "latency_ms": {"candidate": 30.0, "live": 10.0},
        "size_bytes": {"candidate": 3, "live": 5},
    }
    pairs = [asked[start : start + 2] for start in range(0, len(asked), 2)]
    assert all(first[1] == second[1] and first[0] != second[0] for first, second in pairs)
    assert len({text for _, text in asked}) == min(rows, 16)
    measured = [pair[0][0] for pair in pairs[min(rows, 3) :]]
    assert measured == [("new", "older")[turn % 2] for turn in range(len(measured))]


def test_it_is_the_section_of_candidate_json(answers):
    from include.contracts.kinds.text_classifier import Comparison

    clock = Clock()
    document = found(answers) | compare_costs(Packed(clock, "new", 1, []), Packed(clock, "old", 1, []), answers[3])
    Comparison.model_validate_json(json.dumps(document))
