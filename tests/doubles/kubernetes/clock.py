"""The lags of a cluster, and a clock that makes them short in tests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """How long a real cluster takes, in seconds of the double's clock.

    :param schedule_seconds: until a pod has its node.
    :param pull_seconds: until an image is there, or is known not to be.
    :param back_off_seconds: before a crashed container starts again; doubles with each crash.
    :param back_off_limit_seconds: what the doubling ends at.
    :param reconcile_seconds: until a controller has noticed a change; what it reports until then is old.
    :param route_seconds: after Ready, until the gateway sends requests to it.
    :param progress_deadline_seconds: until a rollout that does not get on counts as failed.
    """

    schedule_seconds: float = 0.2
    pull_seconds: float = 0.5
    back_off_seconds: float = 10.0
    back_off_limit_seconds: float = 300.0
    reconcile_seconds: float = 0.3
    route_seconds: float = 2.0
    progress_deadline_seconds: float = 600.0


class Clock:
    """Waits, at a multiple of the speed of real time. Time stamps are real time's.

    :param speed: seconds of the double for each real one.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._stopped = threading.Event()

    def wait(self, seconds: float, until: threading.Event | None = None) -> bool:
        """Wait for that long, or until the event; return whether there is a reason to stop.

        Without an event of its own, the wait ends when the cluster does.
        """
        return (until or self._stopped).wait(seconds / self.speed)

    def stop(self) -> None:
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()


def timestamp() -> str:
    """Return now as the API server writes it: whole seconds of UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
