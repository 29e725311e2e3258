"""Looks whether what was written stays: the server lets the later of two writers win, with what that one had read.

A writer reads a thing and sends all of its marks back a moment later. Whoever wrote in between has lost theirs, and
reading back at once does not always show it. So a story ends when for a while nobody has written to what it has
changed: who had read before must have written by then, and who reads later finds the marks there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec

from include.contracts.model_registry.calls import Call, Document, MarkLostError, Pause, Story, T, Written
from include.contracts.model_registry.things import TRIES, mark, marks_of

#: Longer than any writer of ours takes from reading a thing to writing it.
QUIET_SECONDS = 1.0
#: So many times somebody else may write before it is told.
_LONGEST = 30

_ADVICE = "Find out who writes to it (see its page in the registry), and repeat the step."

P = ParamSpec("P")


def settled(story: Callable[P, Story[T]]) -> Callable[P, Story[T]]:
    """Let a story end only when what it has written stays.

    :raises MarkLostError: when it was lost and written again several times, or others never stop writing.
    """

    @wraps(story)
    def told(*args: P.args, **kwargs: P.kwargs) -> Story[T]:
        written: dict[str, Written] = {}
        telling = story(*args, **kwargs)
        answer: Any = None
        while True:
            try:
                asked = telling.send(answer)
            except StopIteration as end:
                found: T = end.value
                break
            if isinstance(asked, Written):
                written[asked.path] = _joined(written.get(asked.path), asked)
                answer = None
            else:
                answer = yield asked
        if written:
            yield from _settle(written)
        return found

    return told


def _joined(earlier: Written | None, later: Written) -> Written:
    if earlier is None:
        return later
    return replace(later, marks={**earlier.marks, **later.marks}, before={**later.before, **earlier.before})


def _settle(written: dict[str, Written]) -> Story[None]:
    lost = dict.fromkeys(written, 0)
    for _ in range(_LONGEST):
        yield Pause(QUIET_SECONDS)
        restless = ""
        for path, entry in written.items():
            now: Document = yield Call(method="GET", path=path)
            if now == entry.document:
                continue
            restless = str(now.get("name"))
            if missing := _lost(entry, now):
                lost[path] += 1
                if lost[path] > TRIES:
                    raise MarkLostError(f"{restless}: {', '.join(missing)} was lost {lost[path]} times. {_ADVICE}")
                now = yield from mark(path.rpartition("/")[0], now, missing)
            written[path] = replace(entry, document=now)
        if not restless:
            return
    raise MarkLostError(f"{restless} was changed by others while it was written to, {_LONGEST} times. {_ADVICE}")


def _lost(entry: Written, now: Document) -> dict[str, str]:
    """Return the marks that are again what they were before; what somebody has set to something else is theirs."""
    there = marks_of(now)
    return {
        name: value
        for name, value in entry.marks.items()
        if there.get(name, "") != value and there.get(name, "") == entry.before[name]
    }
