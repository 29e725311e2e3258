"""The interval around a median is the one that the order of the values gives."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

pytest.importorskip("torch")

from benchmarks import capture
from benchmarks.harness import OURS, Benchmark


@pytest.mark.parametrize(("number", "first", "last"), [(3, 0, 2), (6, 0, 5), (9, 1, 7), (20, 5, 14)])
def test_the_interval_holds_the_median_with_95_percent(number: int, first: int, last: int) -> None:
    assert capture.interval_of_median([float(each) for each in range(number)]) == (first, last)


def test_the_ratios_are_those_of_the_pairs_and_the_noise_is_stated_beside_them() -> None:
    benchmark = Benchmark(
        name="capture", title="", sides=dict.fromkeys((OURS, capture.WITHOUT, capture.AGAIN), ""), sizes=[1],
        size_unit="clients", pairs=3, units={capture.LATENCY: "ms"},
    )  # fmt: skip
    for ours, without, again in ((1.02, 1.0, 1.0), (4.0, 2.0, 2.2), (1.0, 1.0, 0.9)):
        for side, figure in ((OURS, ours), (capture.WITHOUT, without), (capture.AGAIN, again)):
            benchmark.add(1, side, {capture.LATENCY: figure})

    capture.judge(benchmark, ["Seven were captured."])

    wanted, noise = benchmark.targets
    assert (wanted.value, wanted.target, wanted.reached) == (1.02, "\u2264 1.03", True)
    assert (noise.value, noise.target, noise.reached) == (1.0, "none", True)
    assert "1.000 to 2.000" in " ".join(benchmark.notes)
    assert "0.900 to 1.100" in " ".join(benchmark.notes)


def test_every_side_is_as_often_first_and_comes_as_often_after_each_other() -> None:
    found = list(capture.orders("abc", 12))

    assert Counter(order[0] for order in found) == {"a": 4, "b": 4, "c": 4}
    assert all(sorted(order) == ["a", "a", "b", "b", "c", "c"] for order in found)
    after = Counter(pair for order in found for pair in pairwise(order) if pair[0] != pair[1])
    assert len(set(after.values())) == 1
