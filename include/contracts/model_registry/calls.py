"""What a registry is asked, and what can become of it."""

from __future__ import annotations

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
#: Yields calls, is sent their answers (a document, or :class:`Refused`), and returns what was to be found out.
Story = Generator[Call, Any, T]

NOT_FOUND, CONFLICT = frozenset({404}), frozenset({409})


def tell(story: Story[T], send: Callable[[Call], Any]) -> T:
    """Send the calls of a story one after the other and return what it comes to.

    :param send: returns the answer of a call.
    """
    answer: Any = None
    while True:
        try:
            call = story.send(answer)
        except StopIteration as end:
            found: T = end.value
            return found
        answer = send(call)
