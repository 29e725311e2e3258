"""What the serving benchmark takes for a right answer, and what it says was reached."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.harness import OURS
from benchmarks.serving import FASTAPI, HANDLER, LIMIT, NATIVE, P50, P95, P99, REQUESTS, check, judge, without_server
from include.classifier.serving.predictor import Prediction
from tests.benchmarks.measured import measured

RIGHT = [
    Prediction("good", 0.7, {"bad": 0.3, "good": 0.7}, False),
    Prediction("bad", 0.6, {"bad": 0.6, "good": 0.4}, False),
]


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        ([{"bad": 0.3, "good": 0.7}, {"bad": 0.6, "good": 0.4}], 0),
        ([{"bad": 0.3, "good": 0.7}, {"bad": 0.61, "good": 0.39}], 0.01),
        ([{"good": 0.68}, {"bad": 0.6}], 0.02),
        (["good", "bad"], 0),
    ],
    ids=["all alike", "one differs", "the best label's alone", "labels alone"],
)
def test_answers_may_differ_a_little(found: list[Any], difference: float) -> None:
    assert check("a side", RIGHT, found, bound=0.05) == pytest.approx(difference)


@pytest.mark.parametrize(
    "found",
    [["good", "good"], [{"good": 0.7}, {"good": 0.6}], [{"bad": 0.6}, {"bad": 0.3}]],
    ids=["another label", "the same for all", "another text's"],
)
def test_wrong_answers_win_nothing(found: list[Any]) -> None:
    with pytest.raises(RuntimeError, match="a side: answers differ by 0"):
        check("a side", RIGHT, found)


def test_a_missing_answer_is_a_wrong_one() -> None:
    with pytest.raises(ValueError, match="shorter"):
        check("a side", RIGHT, ["good"])


def test_without_a_server_as_many_texts_are_classified_at_once_as_there_were_clients() -> None:
    asked: list[list[str]] = []

    def predict(texts: list[str]) -> list[Prediction]:
        asked.append(texts)
        return RIGHT[:1] * len(texts)

    measured, found = without_server(SimpleNamespace(predict=predict), list("abcde"), rows=2)

    assert asked == [["a", "b"], ["c", "d"], ["e"]]
    assert found == [RIGHT[0].probabilities] * 5
    assert measured.keys() == {REQUESTS, P50, P95, P99}


def test_targets_are_judged_against_each_side() -> None:
    # Requests a second with 1 and with 32 clients, and the median latency.
    speeds = {
        OURS: (10, 40, 90),
        NATIVE: (12, 80, 84),
        HANDLER: (9, 8, 100),
        FASTAPI: (9, 50, 100),
        LIMIT: (12, 44, 80),
    }
    benchmark = measured(
        {
            (clients, side): {REQUESTS: requests, P50: latency}
            for side, (with_one, with_many, latency) in speeds.items()
            for clients, requests in ((1, with_one), (32, with_many))
        }
    )
    judge(benchmark, difference=0.004)

    assert [(target.value, target.target, target.reached) for target in benchmark.targets] == [
        (10, "≥ 8", True),
        (1.05, "≤ 1.15", True),
        (5, "≥ 4", True),
        (0.9, "≤ 1", True),
        (0.8, "≥ 1", False),
        (0.9091, "≥ 0.85", True),
        (0.004, "≤ 0.05", True),
    ]
