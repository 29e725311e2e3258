"""How many trials a search may begin, until when, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: So many proposals in a row that were tried before: there is nothing left to try.
MOST_REPEATED = 25


@dataclass
class Budget:
    """What is left of a search.

    :param trials: that may begin, those of earlier tries of the search included.
    :param seconds: that it may take, likewise.
    :param used_before: seconds that earlier tries took.
    :param clock: in seconds, for example :func:`time.monotonic`.
    """

    trials: int
    seconds: float
    used_before: float
    clock: Callable[[], float]
    repeated: int = 0
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._began = self.clock()

    @property
    def used(self) -> float:
        """Seconds so far."""
        return self.used_before + self.clock() - self._began

    @property
    def is_late(self) -> bool:
        """Whether its time is up."""
        return self.used >= self.seconds

    def ended_by(self, begun: int) -> str:
        """Return what keeps another trial from beginning, as ``search.json`` has it; empty: nothing.

        :param begun: trials so far.
        """
        if begun >= self.trials:
            return "trials"
        if self.is_late:
            return "minutes"
        return "space" if self.repeated >= MOST_REPEATED else ""

    def left(self, begun: int, took: Sequence[float], *, parallel: int) -> float | None:
        """Return how many seconds are left, ``None`` while that cannot be known.

        :param begun: trials that are over or under way; those under way count as half of one.
        :param took: seconds of the trials that are over.
        """
        if not took:
            return None
        running = min(parallel, begun - len(took))
        to_do = self.trials - begun + running / 2
        return max(0.0, min(sum(took) / len(took) * to_do / parallel, self.seconds - self.used))
