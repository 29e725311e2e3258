"""Which texts go through the model next: those that wait, in the order of fairness and in the order of their lengths.

A pass costs about as much as its texts would if all were as long as the longest, to which they are padded. A batch
therefore has one budget of tokens, padding included, instead of a number of texts.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count


@dataclass(eq=False, slots=True)
class Row:
    """A text that waits.

    :param owner: whoever asked for it.
    :param index: which of its owner's texts it is.
    :param tokens: token ids, at least one.
    :param turn: when it may expect to be served, in tokens that the model has read by then.
    """

    owner: object
    index: int
    tokens: Sequence[int]
    turn: int = 0
    number: int = 0
    waits: bool = field(default=False, repr=False)

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among those that wait: by length, and by age among those of one length."""
        return len(self.tokens), self.number


class Pending:
    """The texts that wait, all of the same weight.

    Whoever sends a thousand texts gets no more of the model than whoever sends one: a text's turn comes when its owner
    would have got to it if the model's time were shared evenly among all owners (self-clocked fair queueing, Golestani
    1994). The text whose turn it is always is in the next batch, so that none waits for ever; what else is in it, is
    about as long.

    :param budget_tokens: of a batch, padding included. A single text may have more.
    """

    def __init__(self, budget_tokens: int) -> None:
        self._budget = budget_tokens
        self._numbers = count()
        self._by_length: list[tuple[int, int, Row]] = []
        self._by_turn: list[tuple[int, int, Row]] = []
        self._clock = 0
        self.tokens = 0  #: Of all that wait, without padding.

    def __len__(self) -> int:
        """Return how many texts wait."""
        return len(self._by_length)

    def add(self, rows: Iterable[Row]) -> None:
        """Let the texts of one owner wait."""
        turn = self._clock
        for row in rows:
            turn += len(row.tokens)
            row.turn, row.number, row.waits = turn, next(self._numbers), True
            insort(self._by_length, (*row.place, row))
            heapq.heappush(self._by_turn, (row.turn, row.number, row))
            self.tokens += len(row.tokens)

    def remove(self, rows: Iterable[Row]) -> None:
        """Forget texts that nobody wants any more; those that do not wait are none of its business."""
        gone = [row for row in rows if row.waits]
        for row in gone:
            row.waits = False
            self.tokens -= len(row.tokens)
        if gone:
            self._by_length = [entry for entry in self._by_length if entry[2].waits]

    def take(self) -> list[Row]:
        """Return the texts of the next batch, the shortest first, which wait no longer; empty when none waits."""
        while self._by_turn and not self._by_turn[0][2].waits:
            heapq.heappop(self._by_turn)
        if not self._by_turn:
            return []
        turn, _, first = heapq.heappop(self._by_turn)
        self._clock = max(self._clock, turn)
        begin, end = self._around(bisect_left(self._by_length, first.place, key=lambda entry: entry[:2]))
        batch = [row for _, _, row in self._by_length[begin:end]]
        del self._by_length[begin:end]
        for row in batch:
            row.waits = False
            self.tokens -= len(row.tokens)
        return batch

    def _around(self, place: int) -> tuple[int, int]:
        """Return the largest slice by length that has a text and keeps to the budget."""
        best = (place, place + 1)
        begin = 0
        for end in range(place + 1, len(self._by_length) + 1):
            longest = self._by_length[end - 1][0]
            begin = max(begin, end - max(1, self._budget // longest))
            if begin > place:
                break
            if end - begin > best[1] - best[0]:
                best = (begin, end)
        return best
