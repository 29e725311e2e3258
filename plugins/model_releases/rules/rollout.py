"""Watches a version that has a part of the traffic, and says whether it may get more.

The held-out rows of the release are asked through the address that users call, so that what is measured is what users
get; each answer names the version that gave it. No message names a text. Whoever watches does the waiting: a task
sleeps, a triggerer does something else meanwhile.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, Protocol

from include.contracts.rollout import RolloutConfig
from kubeflow_provider.exceptions import InvalidRequestError, OutageError, ServiceUnavailableError
from kubeflow_provider.outages import Outage, patiently
from kubeflow_provider.services import Answer
from model_releases.exceptions import CheckFailedError

#: Sends one raw request body to a version, or through the address that users call for ``None``.
Ask = Callable[[bytes, str | None], Answer]

#: How much longer than planned a watch may last before too few answers count as a no.
_PATIENCE_FACTOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer that a user could have had.

    :param version: who gave it; empty for a failed request, which says nothing of that.
    """

    version: str
    latency_ms: float


class Questions(Protocol):
    """What versions are asked while one of them has a part of the traffic, and how their answers are read.

    :ivar rows: what can be asked; none of it stands in a message.
    :ivar rows_per_request: so many of them at most go into one request.
    """

    rows: Sequence[Any]
    rows_per_request: int

    def body(self, rows: Sequence[Any]) -> bytes:
        """Return the request that asks for some rows."""

    def outcomes(self, answer: Answer, rows: Sequence[Any]) -> list[str]:
        """Return what was answered for each row, in a form in which equal answers are equal.

        :param rows: that were asked for.
        :raises ValueError: when that is no answer for them.
        """

    def version(self, answer: Answer) -> str:
        """Return which version has answered.

        :raises ValueError: when the answer does not say.
        """


class Watch:
    """Looks at one step of a rollout.

    :param version: the version that has a part of the traffic.
    :param live: the version that has the rest.
    :param questions: what to ask.
    :param ask: asks the serving system.
    :param clock: seconds that only rise; replaced in tests.
    """

    def __init__(
        self,
        *,
        policy: RolloutConfig,
        version: str,
        live: str,
        questions: Questions,
        ask: Ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self.version = version
        self.live = live
        self.questions = questions
        self._ask = ask
        self._clock = clock
        self._samples: list[Sample] = []

    def compare_answers(self) -> Iterator[str]:
        """Ask both versions for the held-out rows and yield a line for each comparison that is good enough.

        :raises CheckFailedError: when they disagree on too many rows, or their label mixes differ too much.
        """
        ours, theirs = (list(self._outcomes(version)) for version in (self.version, self.live))
        rows = len(self.questions.rows)
        differing = sum(one != other for one, other in zip(ours, theirs, strict=True)) / rows
        yield _at_most("disagreement with the live version", differing, self.policy.max_disagreement, f"{rows} rows")
        yield _at_most("label shift", label_shift(ours, theirs), self.policy.max_label_shift, f"{rows} rows")

    def ask_users(self, percent: int) -> Iterator[float]:
        """Ask as users do until there is enough to judge, and yield after each question for how long to wait.

        :param percent: the version's share at present.
        """
        start, outage = self._clock(), Outage()
        # So that the version's share of the requests gives half as many samples again as are needed.
        pause = self.policy.watch_seconds * percent / 100 / (1.5 * max(self.policy.min_samples, 1))
        self._samples = []
        for row in cycle(self.questions.rows):
            self._samples.append((yield from patiently(partial(self._one, row), outage)))
            waited = self._clock() - start - outage.waited_seconds
            enough = sum(sample.version == self.version for sample in self._samples) >= self.policy.min_samples
            if waited >= self.policy.watch_seconds * (1 if enough else _PATIENCE_FACTOR):
                return
            yield pause
        raise InvalidRequestError("The candidate has no held-out rows to watch a rollout with; package it again.")

    def judge_users(self, percent: int) -> Iterator[str]:
        """Judge the answers that :meth:`ask_users` got, and yield a line for each check that passed.

        :param percent: the version's share at present, for the messages.
        :raises CheckFailedError: for too many failures, too slow answers, and too few answers to tell.
        """
        ours, theirs, failed = (
            [sample for sample in self._samples if sample.version == version]
            for version in (self.version, self.live, "")
        )
        if len(ours) < self.policy.min_samples:
            raise CheckFailedError(
                f"rollout at {percent} %",
                expected=f"at least {self.policy.min_samples} answers of {self.version}",
                got=f"{len(ours)} of {len(self._samples)}: too few to tell",
            )
        # A failure names no version: all of them count against the new one.
        rate = len(failed) / (len(ours) + len(failed))
        yield _at_most(f"error rate at {percent} %", rate, self.policy.max_error_rate, f"{len(ours)} answers")
        if theirs:
            ours_ms, theirs_ms = (statistics.median(sample.latency_ms for sample in found) for found in (ours, theirs))
            detail = f"median {ours_ms:.0f} ms, live {theirs_ms:.0f} ms"
            yield _at_most(f"latency ratio at {percent} %", ours_ms / theirs_ms, self.policy.max_latency_ratio, detail)

    def _one(self, row: Any) -> Sample:
        try:
            answer = self._ask(self.questions.body([row]), None)
            self.questions.outcomes(answer, [row])
            return Sample(version=self.questions.version(answer), latency_ms=answer.latency_ms)
        except OutageError:  # of what leads to both versions
            raise
        except (ServiceUnavailableError, ValueError):
            return Sample(version="", latency_ms=0.0)

    def _outcomes(self, version: str) -> Iterator[str]:
        most = self.questions.rows_per_request
        for start in range(0, len(self.questions.rows), most):
            rows = self.questions.rows[start : start + most]
            answer = self._ask(self.questions.body(rows), version)
            try:
                yield from self.questions.outcomes(answer, rows)
            except ValueError:
                raise CheckFailedError(
                    "held-out rows",
                    expected=f"{len(rows)} predictions of {version}",
                    got=f"HTTP {answer.status_code} with something else",
                ) from None


def longest_watch_seconds(policy: RolloutConfig) -> float:
    """Return for how long the users of all steps together may be watched."""
    return len(policy.steps) * policy.watch_seconds * _PATIENCE_FACTOR


def label_shift(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Return the total variation distance of two label mixes: 0 for the same mix, 1 for no label in common."""
    one, other = Counter(ours), Counter(theirs)
    return sum(abs(one[label] / len(ours) - other[label] / len(theirs)) for label in one | other) / 2


def _at_most(check: str, value: float, limit: float, detail: str) -> str:
    if not value <= limit:
        raise CheckFailedError(check, expected=f"at most {limit:g}", got=f"{value:.3g} ({detail})")
    return f"{check}: {value:.3g}, at most {limit:g} allowed ({detail})"
