"""A discrete-event simulation of jobs that take their turns at several resources, first come, first served."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a job does next.

    :param seconds: how long it takes.
    :param resource: of which it holds a slot meanwhile; empty for what needs none, such as waiting for a clock.
    """

    seconds: float
    resource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A sequence of stages.

    :param due: when it wants to begin, in seconds.
    """

    due: float
    stages: Sequence[Stage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """How a job went.

    :param waits: resource -> seconds that it waited for a slot of it, over all its stages.
    :param ended: when its last stage was over, in seconds.
    """

    waits: Mapping[str, float]
    ended: float


def simulate(jobs: Sequence[Job], slots: Mapping[str, int]) -> list[Passage]:
    """Let all jobs pass, and return how each of them went, in their order.

    :param slots: resource -> how many jobs hold it at a time.
    """
    free = dict(slots)
    queues: dict[str, deque[tuple[int, int, float]]] = {name: deque() for name in slots}
    waits: list[dict[str, float]] = [{} for _ in jobs]
    ends = [0.0] * len(jobs)
    turns = count()
    # A moment, an order among those of one moment, the job, its stage, and whether the stage begins or is over.
    agenda = [(job.due, next(turns), number, 0, True) for number, job in enumerate(jobs)]
    heapq.heapify(agenda)

    def begin(now: float, number: int, stage: int) -> None:
        heapq.heappush(agenda, (now + jobs[number].stages[stage].seconds, next(turns), number, stage, False))

    while agenda:
        now, _, number, place, is_beginning = heapq.heappop(agenda)
        if place == len(jobs[number].stages):
            ends[number] = now
            continue
        resource = jobs[number].stages[place].resource
        if not is_beginning:
            if resource and queues[resource]:
                next_number, next_place, since = queues[resource].popleft()
                waits[next_number][resource] = waits[next_number].get(resource, 0.0) + now - since
                begin(now, next_number, next_place)
            elif resource:
                free[resource] += 1
            heapq.heappush(agenda, (now, next(turns), number, place + 1, True))
        elif not resource or free[resource]:
            if resource:
                free[resource] -= 1
            begin(now, number, place)
        else:
            queues[resource].append((number, place, now))
    return [Passage(waits=waited, ended=end) for waited, end in zip(waits, ends, strict=True)]
