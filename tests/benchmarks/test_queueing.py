"""The simulation agrees with what is known of queues in closed form."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import factorial
from statistics import mean

import pytest

from benchmarks import queues
from benchmarks.queueing import Job, Stage, simulate

#: Customers of a simulated queue, and how far its mean wait may be from the formula's: the seed is fixed.
CUSTOMERS, TOLERANCE = 60_000, 0.1


def mean_wait(rate: float, service: Callable[[random.Random], float], *, slots: int = 1) -> float:
    """Return the mean wait of customers who come by chance, so many a second."""
    chance = random.Random(7)
    now, jobs = 0.0, []
    for _ in range(CUSTOMERS):
        now += chance.expovariate(rate)
        jobs.append(Job(due=now, stages=[Stage(seconds=service(chance), resource="slot")]))
    passages = simulate(jobs, {"slot": slots})
    return mean(passage.waits.get("slot", 0.0) for passage in passages)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_server_with_exponential_service_waits_as_the_formula_says(load: float) -> None:
    """M/M/1: load / (1 - load) services."""
    assert mean_wait(load, lambda chance: chance.expovariate(1)) == pytest.approx(load / (1 - load), rel=TOLERANCE)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_server_with_constant_service_waits_half_of_that(load: float) -> None:
    """M/D/1, Pollaczek and Khinchine: load / (2 (1 - load)) services."""
    assert mean_wait(load, lambda chance: 1.0) == pytest.approx(load / (2 * (1 - load)), rel=TOLERANCE)


@pytest.mark.parametrize(("slots", "load"), [(2, 0.7), (4, 0.8)])
def test_several_servers_wait_as_erlang_says(slots: int, load: float) -> None:
    """M/M/c, Erlang's C formula."""
    offered = slots * load
    last = offered**slots / factorial(slots) / (1 - load)
    busy = last / (sum(offered**k / factorial(k) for k in range(slots)) + last)
    expected = busy / (slots * (1 - load))
    assert mean_wait(offered, lambda chance: chance.expovariate(1), slots=slots) == pytest.approx(
        expected, rel=TOLERANCE
    )


@pytest.mark.parametrize("slots", [1, 3])
def test_jobs_that_come_together_wait_for_those_before_them(slots: int) -> None:
    jobs = [Job(due=5.0, stages=[Stage(seconds=2.0, resource="slot")]) for _ in range(9)]
    passages = simulate(jobs, {"slot": slots})
    assert [passage.waits.get("slot", 0.0) for passage in passages] == [2.0 * (number // slots) for number in range(9)]
    assert passages[-1].ended == 5 + 2 * (9 // slots)


def test_a_job_passes_its_stages_in_order_and_what_needs_no_slot_waits_for_nobody() -> None:
    stages = [Stage(seconds=1, resource="task"), Stage(seconds=10), Stage(seconds=1, resource="task")]
    first, second = simulate([Job(due=0, stages=stages), Job(due=0.5, stages=stages)], {"task": 1})
    assert (first.ended, first.waits) == (12, {})
    assert (second.ended, second.waits) == (13, {"task": 0.5})


def test_what_one_resource_lets_through_waits_at_the_next() -> None:
    stages = [Stage(seconds=4, resource="a"), Stage(seconds=4, resource="b")]
    passages = simulate([Job(due=0, stages=stages) for _ in range(3)], {"a": 3, "b": 1})
    assert [passage.waits for passage in passages] == [{}, {"b": 4}, {"b": 8}]


def test_the_durations_are_those_of_the_results() -> None:
    found = queues.measured()
    assert 5 < found.training < 120
    assert 1 < found.start < 20
    assert 2 < found.tasks < 60


def test_spread_schedules_wait_less_and_every_slot_helps() -> None:
    found = queues.Durations(training=queues.HOUR, start=3, tasks=10)
    settings = {"models": 100, "seed": 1}
    means = {
        (slots, is_spread): mean(queues.waits(found, slots=slots, is_spread=is_spread, **settings))
        for slots in (8, 16)
        for is_spread in (True, False)
    }
    assert means[16, True] < means[8, True] < means[16, False] < means[8, False]
    # 100 hours of training that begin at once, on 8 slots: each waits for half of those that are before it.
    assert means[8, False] == pytest.approx(60 * (100 / 8 - 1) / 2, rel=0.25)


def test_the_mean_of_varied_durations_is_the_mean() -> None:
    chance = random.Random(3)
    durations = [queues._varied(100, chance) for _ in range(20_000)]
    assert mean(durations) == pytest.approx(100, rel=0.02)
