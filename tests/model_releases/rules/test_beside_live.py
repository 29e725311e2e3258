"""A candidate is asked beside the live version: a busy machine costs no release, a slow or failing candidate does."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from include.contracts.monitoring.shadow_settings import BesideLive
from kubeflow_provider.exceptions import OutageError, ServiceUnavailableError
from kubeflow_provider.services import Answer
from model_releases.exceptions import CheckFailedError
from model_releases.rules.beside_live import (
    LONGEST_SECONDS,
    WARM_UP,
    SideBySide,
    difference_of_shares,
    median_with_interval,
)

NEW, LIVE = "20260102000000", "20260101000000"
BODIES = [f'{{"instances": ["a private text, {number}"]}}'.encode() for number in range(7)]

Milliseconds = Callable[[int], float | None]


class Server:
    """Answers as slowly as it is told, without taking the time.

    :param new: number of the pair -> what the candidate takes; ``None``: it fails.
    """

    def __init__(self, new: Milliseconds, live: Milliseconds = lambda pair: 10.0) -> None:
        self.asked: list[tuple[bytes, str | None]] = []
        self.now = 0.0
        self._takes = {NEW: new, LIVE: live}

    def ask(self, body: bytes, version: str | None) -> Answer:
        pair = len(self.asked) // 2
        self.asked.append((body, version))
        took = self._takes[str(version)](pair)
        self.now += (took or 0) / 1000
        return Answer(status_code=500 if took is None else 200, body={}, latency_ms=took or 1.0)


def judged(server: Server, *, ask: Any = None, **policy: Any) -> list[str]:
    given = {"requests": 60, "days": 7, "store_uri": "", "max_latency_ratio": 2, "max_more_errors": 0.02} | policy
    both = SideBySide(
        policy=BesideLive(**given),
        version=NEW,
        live=LIVE,
        bodies=BODIES,
        ask=ask or server.ask,
        clock=lambda: server.now,
    )
    for pause in both.ask_in_turn():
        server.now += pause
    return list(both.judge())


def test_both_are_asked_each_request_and_take_turns_at_being_the_first() -> None:
    server = Server(lambda pair: 10)
    lines = judged(server)

    assert len(server.asked) == 2 * (60 + WARM_UP)
    pairs = list(zip(server.asked[::2], server.asked[1::2], strict=True))
    assert all(one[0] == other[0] and {one[1], other[1]} == {NEW, LIVE} for one, other in pairs)
    assert Counter(one[1] for one, _ in pairs) == {NEW: 32, LIVE: 32}
    assert {body for body, _ in server.asked} == {*BODIES}
    assert [line.split(":")[0] for line in lines] == [
        "errors beside the live version",
        "latency beside the live version",
    ]
    assert "1 times, 99 % interval 1 to 1; median 10 ms, live 10 ms, 60 requests, at most 2" in lines[1]


def test_a_slow_candidate_is_a_no_and_no_request_is_named() -> None:
    with pytest.raises(
        CheckFailedError, match=r"latency beside the live version: expected at most 2, got 2\.5 times"
    ) as no:
        judged(Server(lambda pair: 25))
    assert "private" not in str(no.value)


@pytest.mark.parametrize("seed", range(20))
def test_a_busy_machine_makes_both_slow_and_costs_no_release(seed: int) -> None:
    chance = random.Random(seed)
    busy = [chance.choice([1.0, 1.0, 8.0]) * chance.lognormvariate(0, 0.6) for _ in range(2000)]

    def takes(pair: int) -> float:
        return 10 * busy[pair] * chance.lognormvariate(0, 0.5)

    assert len(judged(Server(takes, takes), max_latency_ratio=1.5)) == 2


def test_what_is_not_shown_to_be_slower_goes_on() -> None:
    lines = judged(Server(lambda pair: 30 if pair % 2 else 15))

    assert "2.25 times, 99 % interval 1.5 to 3; " in lines[1]
    assert lines[1].endswith("not shown to be more than 2")


def test_the_first_answers_count_for_nothing() -> None:
    assert judged(Server(lambda pair: None if pair < WARM_UP else 10))[0].startswith(
        "errors beside the live version: +0 of 60 requests"
    )


def test_a_candidate_that_fails_where_the_live_version_does_not_is_a_no() -> None:
    failing = Server(lambda pair: None if pair % 3 == 0 else 10)
    with pytest.raises(CheckFailedError, match=r"errors beside the live version: expected at most 0\.02, got \+0\.3"):
        judged(failing)


def test_single_failures_and_those_of_both_are_no_reason() -> None:
    once = Server(lambda pair: None if pair == 30 else 10)
    assert "+0.0167 of 60 requests" in judged(once)[0]

    both = Server(lambda pair: None if pair % 2 else 10, lambda pair: None if pair % 2 else 10)
    lines = judged(both)
    assert "+0 of 60 requests" in lines[0] and "30 of the candidate failed, 30 of the live version" in lines[0]
    assert "30 requests" in lines[1]


def test_no_answer_is_a_failure_and_an_outage_is_waited_for() -> None:
    server = Server(lambda pair: 10)
    away = iter([True, True])

    def ask(body: bytes, version: str | None) -> Answer:
        if next(away, False):
            raise OutageError("away", budget_seconds=900)
        return server.ask(body, version)

    assert "+0 of 60" in judged(server, ask=ask)[0]

    def no_answer(body: bytes, version: str | None) -> Answer:
        if version == NEW:
            raise ServiceUnavailableError("connection reset")
        return server.ask(body, version)

    with pytest.raises(CheckFailedError, match=r"got \+1 of 60 requests"):
        judged(server, ask=no_answer)


def test_it_ends_after_a_while_and_says_what_is_too_little() -> None:
    server = Server(lambda pair: 20_000.0, lambda pair: 20_000.0)
    lines = judged(server)

    assert server.now < LONGEST_SECONDS + 45
    assert lines[0] == "errors beside the live version: nothing was asked"
    assert lines[1] == "latency beside the live version: 0 requests that both have answered are too few to tell"


def test_the_interval_of_a_median_is_that_of_the_binomial_distribution() -> None:
    # Of 60 values the 20th and the 41st: P(at most 19 heads of 60) = 0.0031, of 20 it would be 0.0067.
    assert median_with_interval([float(number) for number in range(1, 61)], 0.99) == (30.5, 20, 41)
    assert median_with_interval([float(number) for number in range(1, 61)], 0.95) == (30.5, 22, 39)
    assert median_with_interval([3.0, 1.0, 2.0, 5.0, 4.0, 8.0, 6.0, 7.0], 0.99) == (4.5, 1, 8)
    assert median_with_interval([1.0] * 7, 0.99) is None
    assert median_with_interval([], 0.99) is None


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    chance = random.Random(20261130)
    missed = 0
    for _ in range(500):
        found = median_with_interval([chance.lognormvariate(0, 1) for _ in range(60)], 0.95)
        assert found
        missed += not found.low <= 1 <= found.high
    assert missed / 500 < 0.07


def test_the_difference_of_matched_shares_is_agresti_and_min_s() -> None:
    found = difference_of_shares(20, 0, 60, 0.95)
    # (20.5 - 0.5) / 62 with a standard error of sqrt(21 - 20**2 / 62) / 62.
    assert found == (pytest.approx(1 / 3), pytest.approx(0.2020, abs=1e-4), pytest.approx(0.4432, abs=1e-4))
    assert difference_of_shares(0, 0, 60).value == 0
    assert difference_of_shares(0, 0, 1).low >= -1
