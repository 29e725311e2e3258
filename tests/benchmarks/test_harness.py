"""Pairs, ratios and growth: the arithmetic that every benchmark's figures go through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import OURS, RESULTS, Benchmark, Spread, growth, machine
from tests.benchmarks.measured import measured


def make(pairs: int = 2, **changes: Any) -> Benchmark:
    arguments: dict[str, Any] = {
        "name": "example",
        "title": "An example",
        "sides": {OURS: "quick", "theirs": "slow"},
        "sizes": [10, 100, 1000],
        "size_unit": "rows",
        "pairs": pairs,
        "units": {"time": "s"},
    }
    return Benchmark(**(arguments | changes))


def run(benchmark: Benchmark) -> Benchmark:
    """Ours grows with the root of the size and gets slower from pair to pair; theirs grows with the size."""
    turns: dict[tuple[int, str], int] = {}
    for size, side in benchmark.runs():
        turn = turns[size, side] = turns.get((size, side), 0) + 1
        benchmark.add(size, side, {"time": size**0.5 * turn if side == OURS else size * turn * 2.0})
    return benchmark


def test_sides_take_turns_in_being_first() -> None:
    assert [side for size, side in make().runs() if size == 10] == [OURS, "theirs", "theirs", OURS]
    assert len(list(make(pairs=3).runs())) == 3 * 3 * 2


def test_a_ratio_is_one_of_a_pair() -> None:
    point = run(make(pairs=3)).at("time", 100)

    assert point.sides[OURS] == Spread(median=20, low=10, high=30)
    assert point.ratio == Spread(median=20, low=20, high=20)


def test_each_of_many_sides_is_compared_with_ours() -> None:
    benchmark = make(sides={OURS: "quick", "theirs": "slow", "another's": "slower"})
    point = run(benchmark).at("time", 100)

    assert point.ratios == {side: Spread(median=20, low=20, high=20) for side in ("theirs", "another's")}
    assert [side for size, side in benchmark.runs() if size == 10] == [
        *(OURS, "theirs", "another's"),
        *("another's", "theirs", OURS),
    ]


def test_growth_is_the_exponent_of_the_size() -> None:
    measure = run(make()).measure("time")

    assert measure.exponent == {OURS: 0.5, "theirs": 1.0}
    assert growth({10: 3.0, 100: 3.0, 1000: 3.0}) == 0
    assert growth({10: 0.0, 100: 3.0}) is None
    assert growth({10: 5.0}) is None


def test_where_ours_is_nought_there_is_no_ratio() -> None:
    benchmark = make(pairs=1, sizes=[1])
    benchmark.add(1, OURS, {"time": 0.0})
    benchmark.add(1, "theirs", {"time": 3.0})

    assert benchmark.at("time", 1).ratio is None
    assert benchmark.at("time", 1).ratios == {}


def test_a_run_without_a_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="'ours' at 10 lacks time"):
        make().add(10, OURS, {})


def test_results_say_what_was_to_be_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = run(make())
    benchmark.require("times faster", 19.9, at_least=20)
    benchmark.require("seconds", 3, at_most=3)
    benchmark.require("bytes", 7)
    document = json.loads(benchmark.write(tmp_path).read_text(encoding="utf-8"))

    assert document["name"] == "example"
    assert document["machine"] == machine()
    assert document["sizes"] == [10, 100, 1000]
    assert document["targets"] == [
        {"what": "times faster", "value": 19.9, "target": "≥ 20", "reached": False},
        {"what": "seconds", "value": 3, "target": "≤ 3", "reached": True},
        {"what": "bytes", "value": 7, "target": "none", "reached": True},
    ]
    assert "MISSED: times faster: 19.9" in capsys.readouterr().out


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_results_that_are_kept_are_complete(file: Path) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))

    assert document["name"] == file.stem
    assert document["machine"]
    assert document["sizes"] and document["measures"]
    assert all(target.keys() == {"what", "value", "target", "reached"} for target in document["targets"])
    assert file.with_suffix(".svg").exists()


def test_ours_is_compared_with_any_side_in_both_directions() -> None:
    benchmark = measured(
        {(10, OURS): {"time": 2}, (10, "slow"): {"time": 8}, (10, "slower"): {"time": 10}, (20, OURS): {"time": 0}}
        | {(20, side): {"time": 1} for side in ("slow", "slower")}
    )

    assert (benchmark.by_ours("time", 10), benchmark.by_ours("time", 10, "slower")) == (4, 5)
    assert (benchmark.ours_by("time", 10), benchmark.ours_by("time", 10, "slower")) == (0.25, 0.2)
    assert (benchmark.by_ours("time", 20), benchmark.ours_by("time", 20, "slower")) == (0, 0)
    assert benchmark.figures("time", 10, "slow") == [8]
