"""The interval around a median is the one that the order of the values gives."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from benchmarks import capture
from benchmarks.harness import OURS, Benchmark


@pytest.mark.parametrize(("number", "first", "last"), [(3, 0, 2), (6, 0, 5), (9, 1, 7), (20, 5, 14)])
def test_the_interval_holds_the_median_with_95_percent(number: int, first: int, last: int) -> None:
    assert capture.interval_of_median([float(each) for each in range(number)]) == (first, last)


def test_the_ratio_is_that_of_the_pairs() -> None:
    benchmark = Benchmark(
        name="capture", title="", sides={OURS: "", capture.WITHOUT: ""}, sizes=[1], size_unit="clients", pairs=3,
        units={capture.LATENCY: "ms"},
    )  # fmt: skip
    for ours, without in ((1.02, 1.0), (4.0, 2.0), (1.0, 1.0)):
        benchmark.add(1, OURS, {capture.LATENCY: ours})
        benchmark.add(1, capture.WITHOUT, {capture.LATENCY: without})

    capture._judge(benchmark, 7)

    (target,) = benchmark.targets
    assert (target.value, target.reached) == (1.02, True)
    assert "1.000 to 2.000" in " ".join(benchmark.notes)
