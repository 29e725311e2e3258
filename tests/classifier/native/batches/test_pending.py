"""Whatever comes in whichever order: batches keep to their budget, nobody waits for ever, nobody is served twice."""

from __future__ import annotations

import random

import pytest

from include.classifier.native.batches.pending import Pending, Row

BUDGET = 64


def rows_of(owner: object, lengths: list[int]) -> list[Row]:
    return [Row(owner, index, [1] * length) for index, length in enumerate(lengths)]


def tokens(rows: list[Row]) -> int:
    return sum(len(row.tokens) for row in rows)


def cost(batch: list[Row]) -> int:
    return len(batch) * max(len(row.tokens) for row in batch)


@pytest.mark.parametrize("seed", range(30))
def test_each_text_is_in_one_batch_and_each_batch_keeps_to_the_budget(seed: int) -> None:
    chance = random.Random(seed)
    pending = Pending(BUDGET)
    waiting: set[int] = set()
    known: list[list[Row]] = []
    while waiting or len(known) < 40:
        what = chance.random()
        if what < 0.5 and len(known) < 40:
            rows = rows_of(object(), [chance.randint(1, 100) for _ in range(chance.randint(1, 12))])
            pending.add(rows)
            waiting |= {id(row) for row in rows}
            known.append(rows)
        elif what < 0.6 and known:
            gone = chance.choice(known)
            pending.remove(gone)
            waiting -= {id(row) for row in gone}
        else:
            batch = pending.take()
            assert len(batch) <= 1 or cost(batch) <= BUDGET
            assert [len(row.tokens) for row in batch] == sorted(len(row.tokens) for row in batch)
            assert bool(batch) == bool(waiting)
            assert {id(row) for row in batch} <= waiting
            waiting -= {id(row) for row in batch}
        assert len(pending) == len(waiting)
        assert pending.tokens == sum(len(row.tokens) for rows in known for row in rows if id(row) in waiting)
    assert pending.take() == []


@pytest.mark.parametrize("seed", range(10))
def test_a_batch_has_as_many_texts_as_fit_around_the_one_whose_turn_it_is(seed: int) -> None:
    chance = random.Random(seed)
    pending = Pending(BUDGET)
    for _ in range(20):
        pending.add(rows_of(object(), [chance.randint(1, 80)]))
    while len(pending):
        in_turn = list(pending._waiting)
        next_ones = [
            row for index, row in enumerate(in_turn) if not index or tokens(in_turn[: index + 1]) <= 2 * BUDGET
        ]
        lengths = sorted(len(row.tokens) for row in next_ones)
        batch = pending.take()
        assert in_turn[0] in batch
        assert set(batch) <= set(next_ones)
        most = 0
        for begin in range(len(lengths)):
            for end in range(begin + 1, len(lengths) + 1):
                if lengths[begin] <= len(in_turn[0].tokens) <= lengths[end - 1] <= BUDGET // (end - begin):
                    most = max(most, end - begin)
        assert len(batch) == max(most, 1)


def test_texts_that_are_not_padded_come_in_their_turn() -> None:
    pending = Pending(BUDGET, pads=False)
    rows = [rows_of(object(), [length])[0] for length in (30, 20, 10, 5, 100, 1)]
    for row in rows:
        pending.add([row])
    assert [pending.take(most=2), pending.take(budget_tokens=9), *(pending.take() for _ in range(4))] == [
        rows[:2],
        rows[2:3],
        rows[3:4],
        rows[4:5],
        rows[5:],
        [],
    ]


@pytest.mark.parametrize("own", [1, 100])
def test_a_text_is_served_however_many_others_keep_coming(own: int) -> None:
    """Others of every other length come before each batch, more than fit into it."""
    pending = Pending(BUDGET)
    late = rows_of(object(), [own])
    pending.add(late)
    for number in range(200):
        for length in (2, 30, 60):
            pending.add(rows_of(number, [length] * 3))
        if late[0] in pending.take():
            return
    raise AssertionError("it would have waited for ever")


def test_who_sends_a_thousand_texts_does_not_keep_others_waiting() -> None:
    pending = Pending(BUDGET)
    pending.add(rows_of("many", [32] * 1000))
    for _ in range(5):
        pending.take()
    small = rows_of("one", [10])
    pending.add(small)
    assert small[0] in pending.take()


def test_who_sends_a_thousand_texts_gets_on_however_many_small_requests_come() -> None:
    pending = Pending(BUDGET)
    many = rows_of("many", [32] * 100)
    pending.add(many)
    batches = 0
    while any(row.waits for row in many):
        pending.add(rows_of(object(), [16]))
        pending.take()
        batches += 1
        assert batches < 1000
