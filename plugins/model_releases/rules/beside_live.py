"""Asks a deployed candidate and the live version the same requests in turn: is it slower, does it fail more often?

A busy machine must not cost a release. What keeps both busy is divided out, because each request is asked of both, one
right after the other, and now this one first and now the other. What hits only one of them by chance is in the
interval, and only a candidate whose whole interval lies above the limit is a no. No message names a request.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from typing import NamedTuple

from include.contracts.monitoring.shadow_settings import BesideLive
from kubeflow_provider.exceptions import OutageError, ServiceUnavailableError
from kubeflow_provider.outages import Outage, patiently
from model_releases.exceptions import CheckFailedError
from model_releases.rules.rollout import Ask

#: Of both intervals.
CONFIDENCE = 0.99

#: Pairs of answers that count for nothing: what has slept wakes up, what is computed once is computed.
WARM_UP = 4

#: For how long is asked; then it is judged by what there is. What waits for a service that is away does not count.
LONGEST_SECONDS = 120.0

#: A latency below is as good as none.
_LEAST_MS = 0.01


class Pair(NamedTuple):
    """What both took for one request, in milliseconds; ``None`` where one has failed."""

    candidate_ms: float | None
    live_ms: float | None


class Interval(NamedTuple):
    """A figure with its bounds."""

    value: float
    low: float
    high: float


class SideBySide:
    """Compares two versions that are deployed.

    :param policy: how often is asked, and the limits.
    :param bodies: requests; fewer than are asked for come again.
    :param ask: asks the serving system; it says that nothing of this is to be captured.
    :param clock: seconds that only rise; replaced in tests.
    """

    def __init__(
        self,
        *,
        policy: BesideLive,
        version: str,
        live: str,
        bodies: Sequence[bytes],
        ask: Ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pairs: list[Pair] = []
        self._policy = policy
        self._version = version
        self._live = live
        self._bodies = bodies
        self._ask = ask
        self._clock = clock

    def ask_in_turn(self) -> Iterator[float]:
        """Ask, and yield after each pair for how long to wait."""
        start, outage = self._clock(), Outage()
        for number, body in enumerate(islice(cycle(self._bodies), WARM_UP + self._policy.requests)):
            pair = yield from self._pair(body, is_first=number % 2 == 0, outage=outage)
            if number >= WARM_UP:
                self.pairs.append(pair)
            if self._clock() - start - outage.waited_seconds > LONGEST_SECONDS:
                return
            yield 0.0

    def judge(self) -> Iterator[str]:
        """Yield a line for each check that passed, or for which there is too little to tell.

        :raises CheckFailedError: when the candidate is shown to fail more often, or to be slower, than is allowed.
        """
        yield self._errors()
        yield self._latency()

    def _pair(self, body: bytes, *, is_first: bool, outage: Outage) -> Generator[float, None, Pair]:
        """Ask both.

        :param is_first: whether the candidate is asked first.
        """
        order = (self._version, self._live) if is_first else (self._live, self._version)
        took = {}
        for who in order:
            took[who] = yield from patiently(partial(self._one, body, who), outage)
        return Pair(took[self._version], took[self._live])

    def _one(self, body: bytes, version: str) -> float | None:
        try:
            answer = self._ask(body, version)
        except OutageError:  # of what leads to both
            raise
        except ServiceUnavailableError:
            return None
        return answer.latency_ms if answer.status_code == 200 else None

    def _errors(self) -> str:
        check, limit = "errors beside the live version", self._policy.max_more_errors
        ours, theirs = (sum(pair[place] is None for pair in self.pairs) for place in (0, 1))
        if not self.pairs:
            return f"{check}: nothing was asked"
        only_ours = sum(pair.candidate_ms is None and pair.live_ms is not None for pair in self.pairs)
        only_theirs = sum(pair.live_ms is None and pair.candidate_ms is not None for pair in self.pairs)
        found = difference_of_shares(only_ours, only_theirs, len(self.pairs))
        told = (
            f"{found.value:+.3g} of {len(self.pairs)} requests, {_bounds(found, '+')}; {ours} of the candidate failed, "
            f"{theirs} of the live version"
        )
        return _judged(check, found, limit, told)

    def _latency(self) -> str:
        check, limit = "latency beside the live version", self._policy.max_latency_ratio
        answered = [(ours, theirs) for ours, theirs in self.pairs if ours is not None and theirs is not None]
        found = median_with_interval([max(ours, _LEAST_MS) / max(theirs, _LEAST_MS) for ours, theirs in answered])
        if found is None:
            return f"{check}: {len(answered)} requests that both have answered are too few to tell"
        ours_ms, theirs_ms = (statistics.median(side) for side in zip(*answered, strict=True))
        told = (
            f"{found.value:.3g} times, {_bounds(found)}; median {ours_ms:.3g} ms, live {theirs_ms:.3g} ms, "
            f"{len(answered)} requests"
        )
        return _judged(check, found, limit, told)


def median_with_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the median with an interval that holds whatever the distribution, ``None`` of too few values for one.

    Its bounds are values themselves: those above which, or below which, so many lie as rarely by chance.
    Source: Thompson, "On confidence ranges for the median and other expectation distributions for populations of
    unknown distribution form", Annals of Mathematical Statistics 7, 1936.
    """
    ordered, count = sorted(values), len(values)
    tail, place = 0, -1  # of 2 ** count draws of so many coins, those with at most `place` heads
    while 2 * (tail + math.comb(count, place + 1)) <= (1 - confidence) * 2**count:
        place += 1
        tail += math.comb(count, place)
    if place < 0:
        return None
    return Interval(statistics.median(ordered), ordered[place], ordered[count - 1 - place])


def difference_of_shares(only_first: int, only_second: int, pairs: int, confidence: float = CONFIDENCE) -> Interval:
    """Return by how much more often the first of a pair fails, with its interval.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
    Medicine 24, 2005: half a pair is added to each of the four cells.

    :param only_first: pairs in which it alone fails.
    :param pairs: all of them, at least one.
    """
    size, one, other = pairs + 2, only_first + 0.5, only_second + 0.5
    middle = (one - other) / size
    spread = math.sqrt((one + other - (one - other) ** 2 / size) / size**2)
    reach = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * spread
    measured = (only_first - only_second) / pairs
    return Interval(measured, max(-1.0, min(middle - reach, measured)), min(1.0, max(middle + reach, measured)))


def _judged(check: str, found: Interval, limit: float, told: str) -> str:
    if found.low > limit:
        raise CheckFailedError(check, expected=f"at most {limit:g}", got=told)
    word = "at most" if found.value <= limit else "not shown to be more than"
    return f"{check}: {told}, {word} {limit:g}"


def _bounds(found: Interval, sign: str = "") -> str:
    return f"{100 * CONFIDENCE:g} % interval {found.low:{sign}.3g} to {found.high:{sign}.3g}"
