"""A benchmark that has been measured, with figures that a test makes up."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.harness import OURS, Benchmark


def measured(runs: Mapping[tuple[int, str], Mapping[str, float]], *, ours: str = OURS) -> Benchmark:
    """Return a benchmark of one pair.

    :param runs: size and side -> figure of each measure; ours first.
    """
    benchmark = Benchmark(
        name="example",
        title="An example",
        sides=dict.fromkeys((side for _, side in runs), ""),
        sizes=list(dict.fromkeys(size for size, _ in runs)),
        size_unit="sizes",
        pairs=1,
        units=dict.fromkeys(next(iter(runs.values())), ""),
        ours=ours,
    )
    for (size, side), figures in runs.items():
        benchmark.add(size, side, figures)
    return benchmark
