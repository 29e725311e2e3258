"""What a registry is asked, and what can become of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class RegistryRefusalError(ValueError):
    """What was asked for can never be recorded as it stands."""


class MarkLostError(RuntimeError):
    """What was written was not there when it was read back, several times: somebody else writes there all the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of the API, whichever its version.

    :param path: behind ``/api/model_registry/<version>``.
    :param body: sent as JSON.
    :param refusals: statuses that are an answer here, sent as :class:`Refused`; every other failure is an error.
    """

    method: str
    path: str
    params: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    refusals: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer with one of the statuses that a call names.

    :param message: the server's words.
    """

    status: int
    message: str


Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Time that is to pass before the next call."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Marks that were set, said to whoever looks whether they stay (:mod:`include.contracts.model_registry.settling`).

    :param path: of the thing.
    :param marks: name -> text, empty for one that was taken away.
    :param before: the texts that were there before.
    :param document: the thing as it was then.
    """

    path: str
    marks: Mapping[str, str]
    before: Mapping[str, str]
    document: Document


#: Yields calls, is sent their answers (a document, or :class:`Refused`), and returns what was to be found out.
Story = Generator[Call | Pause | Written, Any, T]

NOT_FOUND, CONFLICT = frozenset({404}), frozenset({409})


def tell(story: Story[T], send: Callable[[Call], Any]) -> T:
    """Send the calls of a story one after the other and return what it comes to.

    :param send: returns the answer of a call.
    """
    answer: Any = None
    while True:
        try:
            asked = story.send(answer)
        except StopIteration as end:
            found: T = end.value
            return found
        answer = send(asked) if isinstance(asked, Call) else None
        if isinstance(asked, Pause):
            time.sleep(asked.seconds)
