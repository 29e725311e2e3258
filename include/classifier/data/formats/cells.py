"""The cells of a workbook as the text that a person sees, where that does not hang on whose computer shows it."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openpyxl.cell.read_only import ReadOnlyCell

#: ``0``, ``00000``, ``#,##0.00``, ``0%``. Whatever else is a way to show numbers (money, fractions) is read plainly.
_NUMBER = re.compile(r"(?P<groups>#,##)?(?P<whole>0+)(\.(?P<decimals>0+))?(?P<percent>%)?")
_DATE = re.compile(r"(yyyy|yy|mm|m|dd|d|hh|h|ss|[-./: ])+")
_DATE_PART = re.compile(r"yyyy|yy|mm|m|dd|d|hh|h|ss|.")
#: Excel shows these as the computer's country does.
_BY_COUNTRY = ("mm-dd-yy", "m/d/yy h:mm")
#: How a workbook writes characters that XML cannot hold.
_ESCAPED = re.compile(r"_x(00[01][0-9A-Fa-f])_")


def cell_text(cell: ReadOnlyCell) -> str | None:
    """Return a cell's text; ``None`` for one that is empty or holds an error."""
    value: Any = cell.value
    if value is None or cell.data_type == "e":
        return None
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value) if "_x00" in value else value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, date | time | timedelta):
        return _date_text(value, cell.number_format)
    return _number_text(value, cell.number_format)


def _number_text(value: float, shown_as: str) -> str:
    found = _NUMBER.fullmatch(shown_as)
    if found is None:
        return str(value) if isinstance(value, int) else f"{value:.15g}"  # all that Excel keeps
    number = Decimal(repr(value)) * (100 if found["percent"] else 1)
    decimals = len(found["decimals"] or "")
    number = number.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    width = len(found["whole"]) + (decimals + 1 if decimals else 0)
    text = f"{abs(number):{',' if found['groups'] else ''}f}".rjust(width, "0")
    return f"{'-' if number < 0 else ''}{text}{found['percent'] or ''}"


def _date_text(value: date | time | timedelta, shown_as: str) -> str:
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    shown_as = shown_as.lower()
    if not _DATE.fullmatch(shown_as) or shown_as in _BY_COUNTRY:
        if isinstance(value, time):
            return f"{value:%H:%M:%S}"
        return f"{value:%Y-%m-%d %H:%M:%S}" if "h" in shown_as else f"{value:%Y-%m-%d}"
    moment = datetime.combine(date(1900, 1, 1), value) if isinstance(value, time) else value
    text, part_before = "", ""
    parts = _DATE_PART.findall(shown_as)
    for index, part in enumerate(parts):
        # An m is a minute behind an hour and before a second.
        is_minute = part_before in ("h", "hh") or "ss" in parts[index + 1 : index + 3]
        code = _CODES.get(("minute " if is_minute and part[0] == "m" else "") + part)
        text += f"{moment:{code}}".removeprefix("0" if len(part) == 1 else "") if code else part
        part_before = part if code else part_before
    return text


_CODES = {"yyyy": "%Y", "yy": "%y", "mm": "%m", "m": "%m", "dd": "%d", "d": "%d", "hh": "%H", "h": "%H", "ss": "%S"}
_CODES |= {"minute mm": "%M", "minute m": "%M"}
