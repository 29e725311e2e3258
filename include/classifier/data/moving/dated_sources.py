"""Sources with ``{date}``: which of their addresses are there, decided once for all tries of a release."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from include.classifier.data.part_files import listed_files
from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source, explained, write_whole
from include.contracts.dataset import DataWindow, DatedSource
from include.contracts.dates import Window, is_dated, on_day

#: In the folder of the data set: what the first try found, for those after it.
RECORD = "window.json"
_DAYS_SHOWN = 5


class Resolved(NamedTuple):
    """What a release reads."""

    sources: list[Source]  #: Those without a date, and those of each day in place of the others.
    window: dict[str, Any] | None  #: What dataset.json says of the days.


def resolve(named: Iterable[Source], window: Window, problems: Problems, record_uri: str) -> Resolved:
    """Find the addresses of every dated source: those of the days that an earlier try of the release has found, if any.

    :param problems: gathers sources of which nothing is there on any day, and days that are gone since that try.
    :param record_uri: where that is written down.
    :raises SourceUnavailableError: when a store does not say what it holds.
    """
    print(f"Days: {window}.")
    before = _recorded(record_uri, window)
    sources: list[Source] = []
    dated: list[DatedSource] = []
    failed = False
    for source in named:
        if not is_dated(source.uri):
            sources.append(source)
            continue
        recorded = before.get((source.name, source.split))
        try:
            found = on_days(source, window, without=recorded or ())
            if not found:
                raise _nothing(source, window)
            there = {part.uri for part in found}
            missing = [day for day in window.days() if on_day(source.uri, day) not in there]
            if recorded is not None and missing != recorded:
                raise _gone(source, min(set(missing) - set(recorded)))
        except DataError as error:
            problems.take(error)
            failed = True
            continue
        sources += found
        _print_missing(source, len(found), missing)
        dated.append(DatedSource(uri=source.name, split=source.split, missing=list(map(str, missing))))
    facts = DataWindow(first=str(window.first), last=str(window.last), timezone=window.timezone, sources=dated)
    if not failed:
        write_whole(record_uri, facts.model_dump_json())
    return Resolved(sources, facts.model_dump())


def on_days(source: Source, window: Window, *, without: Collection[date] = ()) -> list[Source]:
    """Return a dated source's addresses in a window, in the order of the days, as far as they are there.

    :param without: days that are left out: nothing was there when it was asked first.
    :raises DataError: when a form names what it may not, or no address can be read from.
    """
    addresses = dict.fromkeys(on_day(source.uri, day) for day in window.days() if day not in without)
    parts = [replace(source.part(address), named=source.name) for address in addresses]
    return [part for part in parts if _is_there(part)]


def _is_there(source: Source) -> bool:
    files = listed_files(source)
    if files is not None:
        return bool(files)
    filesystem, path = source.filesystem()
    try:
        filesystem.info(path)
    except Exception as error:  # each kind of store has its own exceptions
        # What a web server says is behind the error; a server that is down is none that has nothing.
        reason = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
        if isinstance(reason, FileNotFoundError) or getattr(reason, "status", None) == 404:
            return False
        raise explained(source.name, reason if isinstance(reason, Exception) else error) from None
    return True


def _recorded(uri: str, window: Window) -> dict[tuple[str, str], list[date]]:
    """Return source and split -> days of which an earlier try found nothing, as far as it had the same window."""
    import fsspec

    try:
        with fsspec.open(uri, "rb") as file:
            facts = DataWindow.model_validate_json(file.read())
    except (FileNotFoundError, ValidationError):
        return {}
    if (facts.first, facts.last, facts.timezone) != (str(window.first), str(window.last), window.timezone):
        return {}
    return {(source.uri, source.split): [date.fromisoformat(day) for day in source.missing] for source in facts.sources}


def _print_missing(source: Source, count: int, missing: Collection[date]) -> None:
    shown = ", ".join(map(str, list(missing)[:_DAYS_SHOWN]))
    more = f" and {len(missing) - _DAYS_SHOWN:,} more" if len(missing) > _DAYS_SHOWN else ""
    print(f"{source.name}: {count:,} addresses" + (f", nothing for {shown}{more}." if missing else "."))


def _nothing(source: Source, window: Window) -> DataError:
    address = source.part(on_day(source.uri, window.last)).name
    return DataError(
        f"{source.name}: nothing is there for any of the days {window}; the last address that was tried is {address}. "
        "Check how the source writes its dates, and `last` and `until` in the model's `data`."
    )


def _gone(source: Source, day: date) -> DataError:
    address = source.part(on_day(source.uri, day)).name
    return DataError(
        f"{address}: was there when this release was first tried, and is gone. Put it back, or trigger a new release, "
        "which reads what is there then."
    )


def add_dates(parser: ArgumentParser) -> None:
    """Add the arguments that decide the days of dated data."""
    parser.add_argument(
        "--as-of", type=_moment, help="when the release was asked for, ISO 8601 (now); decides the days of dated data"
    )
    parser.add_argument("--timezone", default="UTC", help="whose days they are, an IANA name (%(default)s)")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
