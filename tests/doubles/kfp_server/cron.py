"""Cron expressions as the server reads them: the default parser of robfig/cron 1.2.0."""

from __future__ import annotations

#: Field -> smallest and largest number, and names of numbers. The last one may be left out.
_FIELDS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "second": (0, 59, ()),
    "minute": (0, 59, ()),
    "hour": (0, 23, ()),
    "day": (1, 31, ()),
    "month": (1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    "weekday": (0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
}
_DESCRIPTORS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}


def parse_cron(spec: str) -> dict[str, set[int]]:
    """Return the numbers that each field stands for, nothing for a descriptor.

    :raises ValueError: with the words of the parser.
    """
    if not spec:
        raise ValueError("Empty spec string")
    if spec.startswith("@"):
        if spec in _DESCRIPTORS or spec.startswith("@every "):
            return {}
        raise ValueError(f"Unrecognized descriptor: {spec}")
    fields = spec.split()
    if len(fields) not in (5, 6):
        raise ValueError(f"Expected 5 to 6 fields, found {len(fields)}: {spec}")
    # Not the seconds but the day of the week is what five fields lack.
    texts = [*fields, "*"][:6]
    return {name: _field(text, *bounds) for (name, bounds), text in zip(_FIELDS.items(), texts, strict=True)}


def _field(text: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    return set().union(*(_range(part, low, high, names) for part in text.split(",") if part))


def _range(text: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    span, *steps = text.split("/")
    first, *others = span.split("-")
    if first in ("*", "?"):
        start, end = low, high
    else:
        if len(others) > 1:
            raise ValueError(f"Too many hyphens: {text}")
        start = _number(first, low, names)
        end = _number(others[0], low, names) if others else start
    if len(steps) > 1:
        raise ValueError(f"Too many slashes: {text}")
    step = _number(steps[0], 0, ()) if steps else 1
    if steps and not others:
        end = high
    if start < low:
        raise ValueError(f"Beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ValueError(f"End of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ValueError(f"Beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ValueError(f"Step of range should be a positive number: {text}")
    return set(range(start, end + 1, step))


def _number(text: str, low: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f'Failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax') from None
    if number < 0:
        raise ValueError(f"Negative number ({number}) not allowed: {text}")
    return number
