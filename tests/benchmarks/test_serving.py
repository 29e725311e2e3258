"""What the serving benchmark takes for a right answer, and what it says was reached."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.bare import classify
from benchmarks.served_texts import P50, P99, REQUESTS, check
from benchmarks.serving import Plan
from benchmarks.serving_sides import FASTAPI, HANDLER, LIMIT, NATIVE, SIDES, TORCHSERVE
from benchmarks.serving_targets import FIRST, MEMORY, interval, judge_mixed, judge_short, judge_start
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

    answers, found = classify(SimpleNamespace(predict=predict), list("abcde"), rows=2)

    assert asked == [["a", "b"], ["c", "d"], ["e"]]
    assert found == [RIGHT[0].probabilities] * 5
    assert [answer.row for answer in answers] == [0, 0, 2, 2, 4]


def test_speeds_are_judged_against_each_side() -> None:
    # Requests a second with 1 and with 32 clients, and the median latency.
    speeds = {
        NATIVE: (12, 80, 84),
        TORCHSERVE: (10, 40, 90),
        HANDLER: (9, 8, 100),
        FASTAPI: (9, 100, 100),
        LIMIT: (12, 100, 80),
    }
    benchmark = measured(
        {
            (clients, side): {REQUESTS: requests, P50: latency}
            for side, (with_one, with_many, latency) in speeds.items()
            for clients, requests in ((1, with_one), (32, with_many))
        },
        ours=NATIVE,
    )
    judge_short(benchmark, difference=0.004)

    assert [(target.value, target.target, target.reached) for target in benchmark.targets] == [
        (2, "≥ 1", True),
        (5, "≥ 4", True),
        (0.4, "≥ 0.85", False),
        (10, "≥ 8", True),
        (0.8, "≥ 1", False),
        (1.05, "≤ 1.15", True),
        (0.8, "none", True),
        (0.004, "≤ 0.05", True),
    ]


def test_the_start_is_judged_against_torchserve() -> None:
    benchmark = measured({(1, NATIVE): {FIRST: 3, MEMORY: 100}, (1, TORCHSERVE): {FIRST: 12, MEMORY: 400}}, ours=NATIVE)
    judge_start(benchmark)

    assert [(target.value, target.reached) for target in benchmark.targets] == [(0.25, True), (0.25, True)]


def test_the_slowest_texts_of_mixed_lengths_are_judged_at_every_number_of_clients_but_one() -> None:
    figures = {1: (20, 21), 8: (40, 90), 32: (200, 300)}
    benchmark = measured(
        {
            (clients, side): {P99: ms}
            for clients, both in figures.items()
            for side, ms in zip((NATIVE, TORCHSERVE), both, strict=True)
        },
        ours=NATIVE,
    )
    judge_mixed(benchmark)

    assert [(target.value, target.reached) for target in benchmark.targets] == [(0.4444, True), (0.6667, False)]


def test_an_interval_leaves_out_the_largest_and_the_smallest_of_nine() -> None:
    assert interval([1.02, 9, 1.01, 1.03, 1.05, 1.04, 0.1, 1.06, 1.07]) == (1.01, 1.07)
    assert interval([3, 1, 2]) == (1, 3)


def test_the_parts_of_a_whole_run_take_less_than_forty_minutes() -> None:
    sides = [name for name, _ in SIDES.values()]

    assert Plan.of(quick=False).expected_seconds(sides) < 35 * 60
    assert Plan.of(quick=True).expected_seconds(sides) < 8 * 60
