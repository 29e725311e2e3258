"""What the serving benchmark was to reach."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import Benchmark
from benchmarks.served_texts import P50, P99, REQUESTS, largest_difference
from benchmarks.serving_sides import HANDLER, LIMIT, NATIVE, TORCHSERVE

FIRST, MEMORY, INSTALLED = "first answer", "memory", "installed"
PROCESSOR = "processor time of an answer"


def judge_start(benchmark: Benchmark) -> None:
    """Compare what a server takes to start with what was wanted."""
    if TORCHSERVE in benchmark.sides:
        share = benchmark.ours_by(FIRST, 1, TORCHSERVE)
        benchmark.require("times TorchServe's time to the first answer", share, at_most=0.3333)
        benchmark.require("times TorchServe's memory", benchmark.ours_by(MEMORY, 1, TORCHSERVE))


def judge_short(benchmark: Benchmark, difference: float) -> None:
    """Compare the speeds with short texts.

    :param difference: the largest one of a probability that we serve to the one in float32.
    """
    few, many = min(benchmark.sizes), max(benchmark.sizes)
    for side in benchmark.sides:
        requests = benchmark.ours_by(REQUESTS, many, side)
        if side == HANDLER:
            benchmark.require(f"times the requests of the {side}, {many} clients", requests, at_least=8)
        elif side == LIMIT:
            median = benchmark.ours_by(P50, few, side)
            benchmark.require(f"times the median without a server, {few} client", median, at_most=1.15)
            benchmark.require(f"of the requests without a server, {many} clients", requests)
        elif side == TORCHSERVE:
            benchmark.require(f"times the requests of {side}, {many} clients", requests, at_least=1)
            _judge_torchserve(benchmark)
        elif side != NATIVE:
            benchmark.require(f"times the requests of {side}, {many} clients", requests, at_least=1)
    benchmark.require("largest difference of a probability to float32", difference, at_most=largest_difference())


def judge_mixed(benchmark: Benchmark) -> None:
    """Compare how long the slowest texts of mixed lengths take."""
    if TORCHSERVE in benchmark.sides:
        for clients in benchmark.sizes[1:]:
            share = benchmark.ours_by(P99, clients, TORCHSERVE)
            benchmark.require(f"times TorchServe's 99th percentile, {clients} clients", share, at_most=0.5)


def judge_processor(benchmark: Benchmark) -> None:
    """Compare the processor's time of an answer with that of the pass alone, with the interval of the median."""
    for length in benchmark.sizes:
        native, limit = (benchmark.figures(PROCESSOR, length, side) for side in (NATIVE, LIMIT))
        ratios = [ours / theirs for ours, theirs in zip(native, limit, strict=True)]
        low, high = interval(ratios)
        what = f"times the processor time of the pass alone, up to {length} tokens ({low:.3f} to {high:.3f})"
        benchmark.require(what, sorted(ratios)[len(ratios) // 2], at_most=1.05)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return an interval that holds the median: of nine values with 96 %, whatever their distribution.

    It reaches from the second smallest to the second largest: the median lies outside where at least eight of nine fall
    on one side of it, 20 of 512 times. Of fewer than six it reaches from the smallest to the largest.
    """
    ordered = sorted(values)
    return (ordered[1], ordered[-2]) if len(ordered) > 5 else (ordered[0], ordered[-1])


def _judge_torchserve(benchmark: Benchmark) -> None:
    """Compare TorchServe with what was wanted of it, by way of the native server, with which every side was paired."""
    many = max(benchmark.sizes)
    ours = benchmark.by_ours(REQUESTS, many, TORCHSERVE)
    if HANDLER in benchmark.sides:
        by_handler = ours * benchmark.ours_by(REQUESTS, many, HANDLER)
        benchmark.require(f"TorchServe: times the requests of the {HANDLER}, {many} clients", by_handler, at_least=4)
    if LIMIT in benchmark.sides:
        by_limit = ours * benchmark.ours_by(REQUESTS, many, LIMIT)
        benchmark.require(f"TorchServe: of the requests without a server, {many} clients", by_limit, at_least=0.85)
