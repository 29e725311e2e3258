"""How large batches are, and how long texts wait for it: clients who ask all the time, in a time that is made up."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from itertools import count

import pytest

from benchmarks.load import percentile
from include.classifier.native.batches.pace import Pace
from include.classifier.native.batches.pending import Pending, Row

#: Of the model that is made up: for each token of a batch, and for each batch.
TOKEN_SECONDS, BATCH_SECONDS = 0.0003, 0.002
BUDGET = 4096
LONGEST = 128


@pytest.mark.parametrize(("token_seconds", "tokens"), [(0.001, 512), (0.0001, 1000), (0.000001, 4096)])
def test_a_batch_is_what_the_model_reads_in_the_time_within_bounds(token_seconds: float, tokens: int) -> None:
    pace = Pace(seconds=0.1, least=512, most=4096)
    assert pace.budget == 512
    for size in (1, 100, 1, 512, 700):
        pace.tell(size, size * token_seconds)
    assert pace.budget == pytest.approx(tokens, abs=1)


def test_a_pace_that_changes_is_followed() -> None:
    pace = Pace(seconds=1, least=1, most=10_000)
    for seconds in (1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 4):
        pace.tell(1000, seconds)
    assert 250 <= pace.budget < 300


@dataclass
class Simulated:
    """A server with clients of which each sends its next text as soon as it is answered.

    :param lanes: batches that are computed at a time.
    """

    pending: Pending
    pace: Pace | None
    lanes: int
    chance: random.Random
    pads: bool
    waited: list[tuple[int, float]] = field(default_factory=list)  #: Tokens of each text, and for how long it waited.

    def run(self, *, clients: int, texts: int) -> None:
        now, number = 0.0, count()
        running: list[tuple[float, int, list[Row]]] = []
        came: dict[int, float] = {}

        def send() -> None:
            row = Row(object(), 0, [1] * self.chance.randint(4, LONGEST))
            came[id(row)] = now
            self.pending.add([row])

        for _ in range(clients):
            send()
        while len(self.waited) < texts:
            while len(running) < self.lanes and len(self.pending):
                most = -(-len(self.pending) // (self.lanes - len(running)))
                batch = self.pending.take(budget_tokens=self.pace.budget if self.pace else None, most=most)
                lengths = [len(row.tokens) for row in batch]
                size = len(batch) * max(lengths) if self.pads else sum(lengths)
                seconds = BATCH_SECONDS + size * TOKEN_SECONDS
                if self.pace:
                    self.pace.tell(size, seconds)
                heapq.heappush(running, (now + seconds, next(number), batch))
            now, _, done = heapq.heappop(running)
            for row in done:
                self.waited.append((len(row.tokens), now - came.pop(id(row))))
                send()


def waited(clients: int, *, pads: bool, pace: Pace | None, lanes: int = 1) -> list[tuple[int, float]]:
    found = Simulated(Pending(BUDGET, pads=pads), pace, lanes, random.Random(clients), pads)
    found.run(clients=clients, texts=3000)
    return found.waited[500:]


def slowest(found: list[tuple[int, float]], percent: float = 99) -> float:
    return percentile([seconds for _, seconds in found], percent)


def mean(found: list[tuple[int, float]]) -> float:
    return sum(seconds for _, seconds in found) / len(found)


@pytest.mark.parametrize("clients", [8, 32, 128])
def test_texts_that_are_computed_apart_wait_for_those_before_them_and_for_no_batch(clients: int) -> None:
    """The mean is given: each client waits for all others. So nobody should wait much longer than the mean."""
    found = waited(clients, pads=False, pace=Pace(seconds=0.02, least=1, most=BUDGET), lanes=2)

    assert slowest(found) < 1.5 * mean(found)
    assert slowest(found, 100) < 1.75 * mean(found)


@pytest.mark.parametrize("clients", [32, 128])
def test_padded_texts_wait_less_for_short_batches_which_waste_less(clients: int) -> None:
    short = waited(clients, pads=True, pace=Pace(seconds=0.1, least=256, most=BUDGET))
    whole = waited(clients, pads=True, pace=None)

    assert mean(short) < 0.95 * mean(whole)
    assert slowest(short) < 0.9 * slowest(whole)
    assert slowest(short, 100) < 1.75 * mean(short)


@pytest.mark.parametrize("pads", [True, False])
def test_a_short_text_waits_for_the_batch_that_is_computed_and_for_its_own(pads: bool) -> None:
    """Somebody has sent a thousand long ones."""
    pace = Pace(seconds=0.1, least=LONGEST, most=BUDGET)
    pace.tell(BUDGET, BUDGET * TOKEN_SECONDS)
    pending = Pending(BUDGET, pads=pads)
    pending.add(Row("many", index, [1] * LONGEST) for index in range(1000))
    before = pending.take(budget_tokens=pace.budget)
    short = Row("one", 0, [1] * 8)
    pending.add([short])
    own = pending.take(budget_tokens=pace.budget)

    assert short in own
    for batch in (before, own):
        assert sum(len(row.tokens) for row in batch) * TOKEN_SECONDS <= 0.1
