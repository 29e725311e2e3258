"""Why data cannot be used: gathered over all files, so that one look is enough to repair them all."""

from __future__ import annotations

from collections.abc import Iterable

#: Places that a message names; the rest is counted.
PLACES_SHOWN = 3
#: Problems that the last line of an error holds; all of them are printed above it.
PROBLEMS_SHOWN = 3


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


class Problems:
    """Gathers what is wrong; the same problem in many rows of a file is one problem."""

    def __init__(self) -> None:
        self._messages: list[str] = []
        self._places: dict[tuple[str, str, str], list[str]] = {}

    def take(self, error: DataError) -> None:
        """Note the problems of an error, so that the other files are looked at as well."""
        self._messages += error.problems

    def add(self, source: str, what: str, remedy: str, *, place: str = "") -> None:
        """Note a problem.

        :param source: the file, or the split when no single file is to blame.
        :param what: what is wrong, as the end of a sentence that begins with the file and the place.
        :param remedy: a sentence that says what to do.
        :param place: row or line; empty when it concerns all of the source.
        """
        places = self._places.setdefault((source, what, remedy), [])
        if place:
            places.append(place)

    def messages(self) -> list[str]:
        """Return one line for each problem."""
        return self._messages + [
            f"{source}{', ' if places else ''}{name_places(places)}: {what}. {remedy}"
            for (source, what, remedy), places in self._places.items()
        ]

    def raise_if_any(self) -> None:
        """Refuse the data when something is wrong with it.

        :raises DataError: with all problems.
        """
        messages = self.messages()
        if messages:
            raise DataError(*messages)


def name_places(places: Iterable[str]) -> str:
    """Return the first places, and how many there are besides: ``line 3, line 9 and 12 more``."""
    places = list(places)
    more = len(places) - PLACES_SHOWN
    return ", ".join(places[:PLACES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
