"""How long a service is waited for that is away: the budget of an outage, and waiting in tasks and in triggers.

Which failure is an outage is decided where it comes from (:mod:`kubeflow_provider.access`); the error says how long
it may last. Who waits counts that for itself, from the first failure to the next answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, TypeVar, cast

from kubeflow_provider.exceptions import OutageError

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0


class Outage:
    """One waiting's count of an outage: begins with a failure, ends with the next answer.

    :param clock: seconds that only rise; replaced in tests.
    :ivar waited_seconds: all pauses of all outages so far, which are nobody's fault and count against no limit.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._pause = FIRST_PAUSE_SECONDS
        self.waited_seconds = 0.0

    def pause(self, error: OutageError) -> float:
        """Return for how long to wait before the next question: longer and longer, to the end of the budget at most.

        :raises KubeflowProviderError: what the error stands for, when its budget is used up.
        """
        now = self._clock()
        if self._began is None:
            self._began, self._pause = now, FIRST_PAUSE_SECONDS
        left = self._began + error.budget_seconds - now
        if left <= 0:
            raise error.given_up() from error
        pause = min(self._pause, left)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self.waited_seconds += pause
        log.warning("Away, asking again in %.0f s, for %.0f s at most: %s", pause, left, error)
        return pause

    def over(self) -> None:
        """Note an answer."""
        self._began = None


def patiently(call: Callable[[], T], outage: Outage | None = None) -> Generator[float, None, T]:
    """Make a call, again while the service is away, and yield for how long to wait before each further time.

    :param call: safe to repeat.
    :param outage: counts; by default one that lasts as long as this call.
    :return: what the call returned.
    :raises KubeflowProviderError: what an outage stands for that does not end in time.
    """
    outage = outage or Outage()
    while True:
        try:
            answer = call()
        except OutageError as error:
            pause = outage.pause(error)
        else:
            outage.over()
            return answer
        yield pause


def wait_out(call: Callable[[], T]) -> T:
    """Make a call that is safe to repeat, and sleep while the service is away. For tasks; a trigger never sleeps."""
    steps = patiently(call)
    while True:
        try:
            time.sleep(next(steps))
        except StopIteration as end:
            return cast(T, end.value)


def patient(service: T) -> T:
    """Return a service whose calls, all of them safe to repeat, wait while it is away. For tasks.

    Not for what has seconds only: a signal handler, a page, the Test button.
    """
    return cast(T, _Patient(service))


class _Patient:
    def __init__(self, service: Any) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        if not callable(found):
            return found

        @wraps(found)
        def waiting(*arguments: Any, **options: Any) -> Any:
            return wait_out(lambda: found(*arguments, **options))

        return waiting
