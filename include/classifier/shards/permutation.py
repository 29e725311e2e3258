"""A random order of very many rows that takes no memory: where a row goes is computed, and not looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: Four rounds are enough to be told from a random permutation by nobody who may not ask for most of it (Luby and
#: Rackoff, 1988); with few rows most of it is asked for, which twice as many rounds are for.
ROUNDS = 8


class Permutation:
    """Puts the numbers below ``size`` into a random order that a key decides.

    It is a Feistel network on the next even number of bits, whose rounds mix half of the bits into the other half; what
    comes out too large goes through it again until it fits, which keeps it a permutation (*cycle walking*; Black and
    Rogaway, 2002). A number goes through it fewer than four times on average.

    :param size: how many numbers there are.
    :param key: what decides the order, for example a seed and an epoch; each not negative.
    """

    def __init__(self, size: int, *key: int) -> None:
        import numpy as np

        self.size = size
        # What SeedSequence makes of a key is promised to stay the same over NumPy's versions.
        self._keys = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)
        self._half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)) if size > 1 else 1)
        self._mask = np.uint64((1 << int(self._half)) - 1)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Return which number stands at each of some positions.

        :param positions: int, each from 0 to below ``size``, shape (positions,).
        :return: int64, the same shape.
        """
        import numpy as np

        found = self._mixed(positions.astype(np.uint64))
        limit = np.uint64(self.size)
        while (too_large := found >= limit).any():
            found[too_large] = self._mixed(found[too_large])
        return found.astype(np.int64)

    def _mixed(self, numbers: np.ndarray) -> np.ndarray:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (_scrambled(right + key) & self._mask)
        return (left << self._half) | right


def _scrambled(numbers: np.ndarray) -> np.ndarray:
    """Return 64 bits of which each depends on all bits of a number: what ends MurmurHash3."""
    import numpy as np

    shift = np.uint64(33)
    numbers = (numbers ^ (numbers >> shift)) * np.uint64(0xFF51AFD7ED558CCD)
    numbers = (numbers ^ (numbers >> shift)) * np.uint64(0xC4CEB9FE1A85EC53)
    return numbers ^ (numbers >> shift)
