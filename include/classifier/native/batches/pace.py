"""How much goes through the model at once: what it reads in a short time, as its last batches tell."""

from __future__ import annotations

from dataclasses import dataclass

#: Of what was told before, what still counts when a batch more is told.
_MEMORY = 0.8


@dataclass(slots=True, kw_only=True)
class Pace:
    """The budget of the next batch.

    Whoever comes while a batch is computed waits for its end, and whoever is in it does too. From some size on a batch
    gains nothing by being larger, and costs both.

    :param seconds: that a batch should take at most.
    :param least: tokens that it may have however long they take.
    :param most: tokens that it may have however fast the model is.
    """

    seconds: float
    least: int
    most: int
    _tokens: float = 0.0
    _seconds: float = 0.0

    @property
    def budget(self) -> int:
        """How many tokens the next batch may have, padding included; a single text may have more."""
        if not self._seconds:
            return min(self.least, self.most)
        return min(self.most, max(self.least, int(self.seconds * self._tokens / self._seconds)))

    def tell(self, tokens: int, seconds: float) -> None:
        """Learn how long a batch took.

        :param tokens: padding included.
        """
        self._tokens = _MEMORY * self._tokens + tokens
        self._seconds = _MEMORY * self._seconds + seconds
