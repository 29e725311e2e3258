"""Which texts go through the model next: those that wait, in the order of fairness and in the order of their lengths.

Where texts are padded to the longest beside them, a pass costs about as much as its texts would if all were that long.
A batch therefore has one budget of tokens, padding included, instead of a number of texts.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count, takewhile

#: Of the budget of a batch: from how many tokens of those whose turn comes next its texts are chosen by their lengths.
#: With more of them batches waste less padding, and those of odd lengths wait longer.
_WINDOW = 2


@dataclass(eq=False, slots=True)
class Row:
    """A text that waits.

    :param owner: whoever asked for it.
    :param index: which of its owner's texts it is.
    :param tokens: token ids, at least one.
    :param turn: when it may expect to be begun with, in tokens that each owner has got of the model by then.
    """

    owner: object
    index: int
    tokens: Sequence[int]
    turn: float = 0
    number: int = 0
    waits: bool = field(default=False, repr=False)

    @property
    def place(self) -> tuple[float, int]:
        """Where it stands among those that wait."""
        return self.turn, self.number


class Pending:
    """The texts that wait, all of the same weight.

    Whoever sends a thousand texts gets no more of the model than whoever sends one: a text's turn comes when its owner
    would have got to it if the model's time were shared evenly among all owners (start-time fair queueing, Goyal, Vin,
    Cheng 1996, by a clock that goes on with what each owner gets). Of owners with one text each whoever came first is
    first, however long the text is. The text whose turn it is always is in the next batch, so that none waits for ever;
    what else is in it comes soon after it, and where texts are padded it is about as long.

    :param budget_tokens: of a batch, padding included. A single text may have more.
    :param pads: whether texts are padded to the longest beside them.
    """

    def __init__(self, budget_tokens: int, *, pads: bool = True) -> None:
        self._budget = budget_tokens
        self._pads = pads
        self._numbers = count()
        self._waiting: list[Row] = []  #: In the order of their turns.
        self._owners: Counter[object] = Counter()
        self._clock = 0.0
        self.tokens = 0  #: Of all that wait, without padding.

    def __len__(self) -> int:
        """Return how many texts wait."""
        return len(self._waiting)

    def add(self, rows: Iterable[Row]) -> None:
        """Let the texts of one owner wait."""
        turn = self._clock
        for row in rows:
            row.turn, row.number, row.waits = turn, next(self._numbers), True
            insort(self._waiting, row, key=_place)
            self._owners[row.owner] += 1
            self.tokens += len(row.tokens)
            turn += len(row.tokens)

    def remove(self, rows: Iterable[Row]) -> None:
        """Forget texts that nobody wants any more; those that do not wait are none of its business."""
        gone = [row for row in rows if row.waits]
        for row in gone:
            row.waits = False
            self.tokens -= len(row.tokens)
            self._owners[row.owner] -= 1
            if not self._owners[row.owner]:
                del self._owners[row.owner]
        if gone:
            self._waiting = [row for row in self._waiting if row.waits]

    def take(self, *, budget_tokens: int | None = None, most: int | None = None) -> list[Row]:
        """Return the texts of the next batch, which wait no longer; empty when none waits.

        :param budget_tokens: of this batch, where it is less than that of all.
        :param most: texts, where others are to be left for somebody else.
        """
        if not self._waiting:
            return []
        budget = min(self._budget, budget_tokens or self._budget)
        most = max(1, most or len(self._waiting))
        if self._pads:
            batch = _neighbours(self._first(_WINDOW * budget), budget, most)
        else:
            batch = self._first(budget)[:most]
        owners, tokens = len(self._owners), self.tokens
        self._clock = max(self._clock, self._waiting[0].turn)
        self.remove(batch)
        self._clock += (tokens - self.tokens) / owners
        return batch

    def _first(self, budget: int) -> list[Row]:
        """Return those whose turn comes first: one, and others that have no more tokens than that together with it."""
        sizes = accumulate(len(row.tokens) for row in self._waiting)
        number = sum(1 for _ in takewhile(lambda size: size <= budget, sizes))
        return self._waiting[: max(1, number)]


def _place(row: Row) -> tuple[float, int]:
    return row.place


def _neighbours(rows: list[Row], budget: int, most: int) -> list[Row]:
    """Return as many as fit around the first by their lengths, the shortest first.

    :param rows: in the order of their turns.
    """
    first, ordered = rows[0], sorted(rows, key=lambda row: len(row.tokens))
    place = ordered.index(first)
    best, begin = (place, place + 1), 0
    for end in range(place + 1, len(ordered) + 1):
        longest = len(ordered[end - 1].tokens)
        begin = max(begin, end - max(1, min(most, budget // longest)))
        if begin > place:
            break
        if end - begin > best[1] - best[0]:
            best = (begin, end)
    return ordered[slice(*best)]
