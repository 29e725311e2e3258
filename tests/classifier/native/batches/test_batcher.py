"""Requests that come, go and fail in any order: each gets its own answers, the model no more than it was promised."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from include.classifier.native.batches.batcher import Batch, Batcher, ModelFailedError, OutOfTimeError, QueueFullError

Rows = list[Sequence[int]]


class Model:
    """Answers each row with itself, when it is let; a row with the token 666 makes it fail.

    :param chance: lets it take its time, in turns of the event loop.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        self.batches: list[Rows] = []
        self.at_a_time = self.most_at_a_time = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._chance = chance

    async def __call__(self, rows: Rows) -> Rows:
        self.batches.append(rows)
        self.at_a_time += 1
        self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        try:
            await turns(self._chance.randint(0, 5) if self._chance else 0)
            await self.may_answer.wait()
            if any(666 in row for row in rows):
                raise RuntimeError("the model fails")
            return rows
        finally:
            self.at_a_time -= 1


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def batcher_of(model: Model, *, budget: int = 64, most: int = 100_000, **more: Any) -> Batcher:
    return Batcher(model, budget, most, **more)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("seed", range(15))
async def test_each_request_gets_its_own_rows_whatever_others_do(seed: int, lanes: int) -> None:
    chance = random.Random(seed)
    model = Model(chance)
    counted: list[Batch] = []
    batcher = batcher_of(model, lanes=lanes, on_batch=counted.append)

    async def client(number: int) -> str:
        await turns(chance.randint(0, 30))
        rows = [[number + 1000] * chance.randint(1, 80) for _ in range(chance.randint(0, 6))]
        kind = chance.choice(["patient", "patient", "impatient", "poisonous"])
        if kind == "poisonous":
            rows.append([666])
            with pytest.raises(ModelFailedError):
                await batcher.submit(rows)
        elif kind == "impatient":
            asking = asyncio.create_task(batcher.submit(rows))
            await turns(chance.randint(0, 6))
            asking.cancel()
            await asyncio.wait([asking])
        else:
            assert await batcher.submit(rows) == rows
        return kind

    await asyncio.gather(*(client(number) for number in range(40)))

    assert (batcher.waiting_texts, batcher.waiting_tokens) == (0, 0)
    assert model.most_at_a_time <= lanes
    assert all(batch.texts == 1 or batch.padded_tokens <= 64 for batch in counted)
    assert sum(batch.tokens for batch in counted) <= sum(len(row) for rows in model.batches for row in rows)


async def test_what_comes_while_the_model_is_busy_goes_through_it_together() -> None:
    model = Model()
    model.may_answer.clear()
    batcher = batcher_of(model)
    asking = [asyncio.create_task(batcher.submit([[1, 2]]))]
    await turns(5)
    asking += [asyncio.create_task(batcher.submit([[number] * 4])) for number in range(10)]
    await turns(5)
    model.may_answer.set()
    await asyncio.gather(*asking)
    assert [len(batch) for batch in model.batches] == [1, 10]


async def test_what_comes_at_one_moment_goes_through_it_together() -> None:
    model = Model()
    batcher = batcher_of(model)
    await asyncio.gather(*(batcher.submit([[number]]) for number in range(10)))
    assert [len(batch) for batch in model.batches] == [10]


async def test_a_request_whose_client_is_gone_is_not_computed() -> None:
    model = Model()
    model.may_answer.clear()
    batcher = batcher_of(model)
    first = asyncio.create_task(batcher.submit([[1]]))
    await turns(5)
    gone = asyncio.create_task(batcher.submit([[2]] * 50))
    await turns(5)
    assert batcher.waiting_texts == 50
    gone.cancel()
    await turns(5)
    assert batcher.waiting_texts == 0
    model.may_answer.set()
    assert await first == [[1]]
    assert await batcher.submit([[3]]) == [[3]]
    assert model.batches == [[[1]], [[3]]]


async def test_a_full_queue_refuses_at_once_and_takes_more_when_it_is_empty() -> None:
    model = Model()
    model.may_answer.clear()
    batcher = batcher_of(model, most=10)
    first = asyncio.create_task(batcher.submit([[0]]))
    await turns(5)
    large = asyncio.create_task(batcher.submit([[1] * 8] * 3))  # more than fits, but nothing else waits
    await turns(5)
    with pytest.raises(QueueFullError):
        await batcher.submit([[2]])
    model.may_answer.set()
    await asyncio.gather(first, large)
    assert await batcher.submit([[2]]) == [[2]]


async def test_a_request_whose_time_is_over_says_whether_others_took_it() -> None:
    model = Model()
    model.may_answer.clear()
    batcher = batcher_of(model)
    with pytest.raises(OutOfTimeError) as alone:
        await batcher.submit([[1]], seconds=0)
    waiting = asyncio.create_task(batcher.submit([[2]]))
    await turns(5)
    with pytest.raises(OutOfTimeError) as among_others:
        await batcher.submit([[3]], seconds=0)
    assert (alone.value.was_alone, among_others.value.was_alone) == (True, False)
    model.may_answer.set()
    assert await waiting == [[2]]
    assert batcher.waiting_texts == 0


async def test_texts_that_the_model_fails_on_take_no_other_along() -> None:
    model = Model()
    batcher = batcher_of(model)
    good, bad, other = await asyncio.gather(
        batcher.submit([[1], [2]]), batcher.submit([[3], [666]]), batcher.submit([[4]]), return_exceptions=True
    )
    assert (good, other) == ([[1], [2]], [[4]])
    assert isinstance(bad, ModelFailedError)
    assert isinstance(bad.__cause__, RuntimeError)
    assert batcher.waiting_texts == 0
