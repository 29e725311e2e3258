"""Splits evaluation rows off, evenly and repeatably."""

from __future__ import annotations

import random
from array import array
from math import ceil, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def split_off(classes: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose rows for evaluation, the same share of each class.

    :param classes: class of each row, shape (rows,).
    :param fraction: share that goes to evaluation; of two rows or more, at least one goes and one stays.
    :return: True for rows that go to evaluation, shape (rows,).
    """
    import numpy as np

    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose, nothing here is secret
    chosen = np.zeros(len(classes), dtype=bool)
    for index in np.unique(classes):
        of_class = classes == index
        rows = int(of_class.sum())
        chosen[of_class] = _sample(rng, rows, min(max(1, round(rows * fraction)), rows - 1))
    return chosen


def _sample(rng: random.Random, rows: int, count: int) -> np.ndarray:
    """Choose just those of ``range(rows)`` that ``rng.sample(range(rows), count)`` would choose.

    That function makes a Python integer for each row, forty bytes; this one takes five. It also holds fast what a
    seed chooses: ``random.sample`` may change with Python.

    :return: True for what is chosen, shape (rows,).
    """
    import numpy as np

    chosen = bytearray(rows)
    # As random.sample has it: drawing again what was drawn before is quicker only where little is drawn.
    set_size = 21 + (4 ** ceil(log(count * 3, 4)) if count > 5 else 0)
    if rows <= set_size:
        pool = array("I", range(rows))
        for left in range(rows, rows - count, -1):
            drawn = rng.randrange(left)
            chosen[pool[drawn]] = 1
            pool[drawn] = pool[left - 1]
    else:
        for _ in range(count):
            while chosen[drawn := rng.randrange(rows)]:
                pass
            chosen[drawn] = 1
    return np.frombuffer(chosen, dtype=bool)
