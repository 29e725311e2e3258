"""Days of the data: ``{date}`` in a source, and the window of days that a release reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Annotated, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

#: Where a day stands in a source, with its format or without.
_DATE = re.compile(r"\{date(?::([^{}]*))?\}")
_BEGINS = "{date"
_DEFAULT_FORMAT = "%Y-%m-%d"
#: What a format may be made of: a day has no hour, and what it makes of a path can be read from it.
_FORMAT = re.compile(r"(?=.*%)(%[YymdjGV]|[\w./=-])+", re.ASCII)
_LAST = re.compile(r"([1-9][0-9]{0,3}) (day|week)s?")
_DAYS = {"day": 1, "week": 7}


class Window(NamedTuple):
    """The days whose data a release reads.

    :param timezone: whose days they are, an IANA name.
    """

    first: date
    last: date
    timezone: str

    @classmethod
    def until(cls, moment: datetime, timezone: str, *, days: int, back: int = 0) -> Self:
        """Return a window that ends with the day of a moment, or so many days before."""
        last = moment.astimezone(ZoneInfo(timezone)).date() - timedelta(days=back)
        return cls(last - timedelta(days=days - 1), last, timezone)

    def days(self) -> Iterator[date]:
        """Yield its days, the earliest first; none where the first lies behind the last."""
        yield from (self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1))

    def __str__(self) -> str:
        return f"{self.first} to {self.last} ({self.timezone})"


def is_dated(source: str) -> bool:
    """Tell whether a source has another address for each day."""
    return _BEGINS in source


def on_day(source: str, day: date) -> str:
    """Return the address of a dated source on a day."""
    return _DATE.sub(lambda found: day.strftime(found[1] or _DEFAULT_FORMAT), source)


def _checked_source(source: str) -> str:
    """Return a source whose dates can be read, where it has any.

    :raises ValueError: saying how they are written. The source itself, which may hold a secret, is left out.
    """
    formats = [found[1] for found in _DATE.finditer(source)]
    is_written = _BEGINS not in _DATE.sub("", source) and all(
        form is None or _FORMAT.fullmatch(form) for form in formats
    )
    if not is_written:
        raise ValueError(
            "a date in a source is {date} for 2026-11-29, or has a format, as in {date:%Y/%m/%d}: %Y, %y, %m, %d, %j, "
            "%G and %V with letters, digits and . _ - = / between"
        )
    if formats and source.startswith("hub:"):
        raise ValueError("a data set of the Hub has no {date}; name a date column in date_column instead")
    return source


def days_of(last: str) -> int:
    """Return how many days ``90 days`` or ``12 weeks`` are.

    :raises ValueError: when it is neither.
    """
    if (found := _LAST.fullmatch(last.strip())) is None:
        raise ValueError("write a number of days or weeks, such as 90 days or 12 weeks")
    return int(found[1]) * _DAYS[found[2]]


def _checked_span(last: str) -> str:
    days_of(last)
    return last


#: A source as the settings name it.
SourceName = Annotated[str, AfterValidator(_checked_source)]
#: ``90 days``.
Span = Annotated[str, AfterValidator(_checked_span)]
