"""How long releases wait for a training slot: all due in the same minute, or each at a time of its own.

A simulation (:mod:`benchmarks.queueing`) of so many models, each of which is released once a day, with durations that
other benchmarks have measured. Nothing is run.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.harness import OURS, RESULTS, Benchmark
from benchmarks.queueing import Job, Stage, simulate
from include.contracts.schedule import own_times

TOGETHER = "same minute"
MODELS = (10, 100, 1000)
SLOTS = (1, 4, 16, 64)
#: Of Airflow: ``[core] parallelism``, which is its default.
TASK_SLOTS = 32
DAY, HOUR, MINUTE = 86_400.0, 3600.0, 60.0
#: Days that are simulated; the waits of the last one count.
DAYS = 3
#: Of a training's duration from one model to another, as a share of the mean: assumed, nothing measures it.
VARIATION = 0.5

#: Starts of a task's process before the training is under way, and after it. A task that is deferred starts twice.
#: check, preprocess (twice), train; train again, gate, register, deploy_candidate (twice), smoke_test, promote (twice),
#: verify, release, report.
STARTS_BEFORE, STARTS_AFTER = 4, 11

#: Steps of ``results/overhead.json`` that hold a training slot, and those that a task of Airflow computes itself.
_IN_PODS = ("preprocess", "train", "package", "evaluate", "the pipeline's own process")
_IN_TASKS = ("register", "deploy", "smoke test", "promote", "checks and records")


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """What a release takes, in seconds.

    :param training: of the pipeline, which holds a training slot.
    :param start: of one task's process, which holds a slot of Airflow.
    :param tasks: of what all tasks then do.
    """

    training: float
    start: float
    tasks: float

    def stages(self, training: float) -> list[Stage]:
        """Return the stages of a release whose own training takes so many seconds."""
        before = Stage(seconds=self.start, resource="task")
        after = Stage(seconds=self.start + self.tasks / STARTS_AFTER, resource="task")
        return [before] * STARTS_BEFORE + [Stage(seconds=training, resource="training")] + [after] * STARTS_AFTER


def measured(folder: Path = RESULTS) -> Durations:
    """Return what the benchmarks have measured: of a small model, at the largest size of each."""
    overhead, parse = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("overhead", "parse")
    )
    steps = {measure["what"]: _last(measure) for measure in overhead["measures"]}
    (start,) = (_last(measure) for measure in parse["measures"] if measure["what"] == "whole process")
    return Durations(
        training=sum(steps[name] for name in _IN_PODS), start=start, tasks=sum(steps[name] for name in _IN_TASKS)
    )


def _last(measure: Mapping[str, Any]) -> float:
    return float(measure["points"][-1]["sides"][OURS]["median"])


def waits(durations: Durations, *, models: int, slots: int, is_spread: bool, seed: int) -> list[float]:
    """Return how long each release of the last day waited for a slot, of trainings and of Airflow, in minutes."""
    chance = random.Random(seed)  # noqa: S311  no secret
    typical = {number: _varied(durations.training, chance) for number in range(models)}
    numbers = list(range(models))
    chance.shuffle(numbers)  # of those that are due together, anybody may be first
    jobs = [
        Job(due=day * DAY + (_own_time(number) if is_spread else 3 * HOUR), stages=durations.stages(typical[number]))
        for day in range(DAYS)
        for number in numbers
    ]
    passages = simulate(jobs, {"training": slots, "task": TASK_SLOTS})
    return [sum(passage.waits.values()) / MINUTE for passage in passages[-models:]]


def _own_time(number: int) -> float:
    minute, hour = own_times("H H * * *", f"model-{number}").split()[:2]
    return int(hour) * HOUR + int(minute) * MINUTE


def _varied(mean: float, chance: random.Random) -> float:
    """Return a duration out of a log-normal distribution with this mean."""
    sigma = sqrt(log(1 + VARIATION**2))
    return mean * exp(chance.gauss(-(sigma**2) / 2, sigma))


def cases() -> Iterator[tuple[str, int, float | None]]:
    """Yield the name of a case, its models, and how long a training takes; ``None`` is what was measured."""
    for name, seconds in (("small trainings", None), ("trainings of 1 h", HOUR)):
        for models in MODELS:
            yield f"{models:,} models, {name}", models, seconds


def main() -> None:
    """Simulate, and write ``results/queues.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="runs with other durations and another order")
    given = parser.parse_args()
    found = measured()
    benchmark = Benchmark(
        name="queues",
        title="Waiting for a training slot",
        sides={
            OURS: "`cron: H H * * *`, a minute of the day of each model's own",
            TOGETHER: "`cron: 0 3 * * *` for all",
        },
        sizes=SLOTS,
        size_unit="training slots",
        pairs=given.pairs,
        units={f"{case}: {figure}": "min" for case, *_ in cases() for figure in ("median wait", "95 % wait")},
        notes=(
            "A simulation of three days, of which the last one counts; every model is released once a day. "
            f"A small training takes {found.training:.1f} s in its pods (`overhead`: preprocess, train, package, "
            f"evaluate), the start of a task's process {found.start:.1f} s (`parse`: whole process). A release has "
            f"{STARTS_BEFORE} of them before its training and {STARTS_AFTER} after it, and what its tasks do takes "
            f"{found.tasks:.1f} s (`overhead`). Trainings of an hour are assumed, and that durations vary by half of "
            f"their mean from model to model. Airflow has {TASK_SLOTS} slots, with a core for each start. The wait is "
            "for slots of both kinds, over the whole release.",
            "Where the trainings of a day take longer than its slots have hours (100 models of an hour on 1 or 4, "
            "1,000 with up to 16), waits grow from day to day and never end: the figure is only that of the third day.",
        ),
    )
    runs = Counter[tuple[int, str]]()
    for slots, side in benchmark.runs():
        figures: dict[str, float] = {}
        runs[slots, side] += 1
        seed = runs[slots, side]
        for case, models, seconds in cases():
            durations = found if seconds is None else Durations(training=seconds, start=found.start, tasks=found.tasks)
            took = waits(durations, models=models, slots=slots, is_spread=side == OURS, seed=seed)
            figures[f"{case}: median wait"] = median(took)
            figures[f"{case}: 95 % wait"] = quantiles(took, n=20)[-1]
        benchmark.add(slots, side, figures)
    for slots, models in ((4, 10), (16, 100), (64, 1000)):
        what = f"{models:,} models, trainings of 1 h: 95 % wait"
        benchmark.require(f"minutes of {what}, {slots} slots, spread", benchmark.at(what, slots).sides[OURS].median)
        benchmark.require(
            f"minutes of {what}, {slots} slots, together", benchmark.at(what, slots).sides[TOGETHER].median
        )
    print(benchmark.write())


if __name__ == "__main__":
    main()
