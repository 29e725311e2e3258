"""Why data cannot be used: gathered over all files, so that one look is enough to repair them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

#: Places that a message names; the rest is counted.
PLACES_SHOWN = 3
#: Problems that the last line of an error holds; all of them are printed above it.
PROBLEMS_SHOWN = 3
#: Labels that a line names.
_LABELS_SHOWN = 20


class DataError(ValueError):
    """The data cannot be used as it stands: another try would end the same way. Never holds a text of the data.

    :param problems: each says what is wrong, where, and what to do about it.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        more = len(problems) - PROBLEMS_SHOWN
        super().__init__(" ".join(problems[:PROBLEMS_SHOWN]) + (f" And {more} more." if more > 0 else ""))


class SourceUnavailableError(Exception):
    """A store or server did not hand out a file; worth another try."""


class Places:
    """The first places of a problem, and how many there are: ten million rows may all be wrong.

    Reads ``line 3, line 9, line 12 and 4 more``.
    """

    def __init__(self, first: Iterable[str] = (), count: int = 0) -> None:
        self.first = list(first)[:PLACES_SHOWN]
        self.count = max(count, len(self.first))

    def add(self, place: str) -> None:
        """Count one more place."""
        self.extend(Places([place]))

    def extend(self, later: Places) -> None:
        """Count the places of another, behind those that are here."""
        self.first += later.first[: PLACES_SHOWN - len(self.first)]
        self.count += later.count

    def __str__(self) -> str:
        more = self.count - len(self.first)
        return ", ".join(self.first) + (f" and {more:,} more" if more else "")


class Problems:
    """Gathers what is wrong; the same problem in many rows of a file is one problem."""

    def __init__(self) -> None:
        self._messages: list[str] = []
        self._places: dict[tuple[str, str, str], Places] = {}

    def take(self, error: DataError) -> None:
        """Note the problems of an error, so that the other files are looked at as well."""
        self._messages += error.problems

    def add(self, source: str, what: str, remedy: str, *, place: str = "", row: int | None = None) -> None:
        """Note a problem.

        :param source: the file, or the split when no single file is to blame.
        :param what: what is wrong, as the end of a sentence that begins with the file and the place.
        :param remedy: a sentence that says what to do.
        :param place: row or line; empty when it concerns all of the source.
        :param row: its number, where that row alone is wrong and the rest of the source can be read without it; here it
            is a problem all the same.
        """
        places = self._places.setdefault((source, what, remedy), Places())
        if place:
            places.add(place)

    def extend(self, later: Problems) -> None:
        """Take over what was gathered elsewhere, behind what is here."""
        self._messages += later._messages
        for problem, places in later._places.items():
            self._places.setdefault(problem, Places()).extend(places)

    def as_document(self) -> dict[str, Any]:
        """Return all of it as JSON writes it, for another process that takes it with :meth:`of_document`."""
        places = [[*problem, found.first, found.count] for problem, found in self._places.items()]
        return {"messages": self._messages, "places": places}

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Return what another process has gathered."""
        problems = cls()
        problems._messages = list(document["messages"])
        problems._places = {
            (source, what, remedy): Places(first, count) for source, what, remedy, first, count in document["places"]
        }
        return problems

    def messages(self) -> list[str]:
        """Return one line for each problem."""
        return self._messages + [
            f"{source}{', ' if places.count else ''}{places}: {what}. {remedy}"
            for (source, what, remedy), places in self._places.items()
        ]

    def raise_if_any(self) -> None:
        """Refuse the data when something is wrong with it.

        :raises DataError: with all problems.
        """
        messages = self.messages()
        if messages:
            raise DataError(*messages)


def some(labels: Sequence[str]) -> str:
    """Return the first labels, and how many more there are."""
    more = f" and {len(labels) - _LABELS_SHOWN:,} more" if len(labels) > _LABELS_SHOWN else ""
    return ", ".join(labels[:_LABELS_SHOWN]) + more
