"""The language of ``filterQuery``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.doubles.model_registry.errors import ApiError
from tests.doubles.model_registry.store import Row, like

Test = Callable[[Row], bool]

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<number>-?\d+(?:\.\d+)?)
    |(?P<name>(?:`[^`]+`|[A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*)
    |(?P<operator><=|>=|!=|<>|=|<|>)
    |(?P<mark>[(),])""",
    re.VERBOSE,
)
_HINT = (
    'Hint: String values must be quoted (e.g., name="value"). '
    "Numbers and booleans don't need quotes (e.g., id>5, active=true)"
)
_TYPES = ("string_value", "int_value", "double_value", "bool_value")
#: Names that are fields of the table, whatever properties there are.
_CORE = ("id", "name", "state", "externalId", "description", "createTimeSinceEpoch", "lastUpdateTimeSinceEpoch")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<>": lambda left, right: left == right,  # it is in the grammar, and nobody builds it
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def matcher(query: str) -> Test:
    """Return what a query asks of a row.

    :raises ApiError: naming the place of what cannot be read.
    """
    return _Parser(query).parsed() if query.strip() else lambda row: True


class _Parser:
    def __init__(self, query: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        place = 0
        while place < len(query):
            match = _TOKEN.match(query, place)
            if match is None:
                raise _wrong(place, query[place], "Value")
            if match.lastgroup != "space":
                self._tokens.append((str(match.lastgroup), match[0], place))
            place = match.end()
        self._end = len(query)
        self._next = 0

    def parsed(self) -> Test:
        test = self._any()
        if self._next < len(self._tokens):
            raise _wrong(self._tokens[self._next][2], self._tokens[self._next][1], "EOF")
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._word("OR"):
            tests.append(self._all())
        return lambda row: any(test(row) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._word("AND"):
            tests.append(self._one())
        return lambda row: all(test(row) for test in tests)

    def _one(self) -> Test:
        if self._is_mark("("):
            test = self._any()
            self._take("mark", ")")
            return test
        field = self._take("name", "PropertyRef")
        if self._word("IN"):
            self._take("mark", "(")
            values = [self._value()]
            while self._is_mark(","):
                values.append(self._value())
            self._take("mark", ")")
            return lambda row: any(_holds(row, field, value, _COMPARISONS["="]) for value in values)
        if self._word("LIKE") or self._word("ILIKE"):
            pattern = self._value()
            return lambda row: _holds(row, field, pattern, lambda left, right: like(str(right), str(left)))
        operator = self._take("operator", "Operator")
        value = self._value()
        return lambda row: _holds(row, field, value, _COMPARISONS[operator])

    def _value(self) -> Any:
        kind, text, _ = self._peek()
        if kind == "name" and text.lower() in ("true", "false"):
            self._next += 1
            return text.lower() == "true"
        if kind == "string":
            self._next += 1
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        text = self._take("number", "Value")
        return float(text) if "." in text else int(text)

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "<EOF>", self._end)

    def _take(self, kind: str, wanted: str) -> str:
        found, text, place = self._peek()
        if found != kind or (kind == "mark" and text != wanted):
            raise _wrong(place, text, wanted)
        self._next += 1
        return text

    def _word(self, word: str) -> bool:
        kind, text, _ = self._peek()
        is_there = kind == "name" and text.upper() == word
        self._next += is_there
        return is_there

    def _is_mark(self, mark: str) -> bool:
        kind, text, _ = self._peek()
        is_there = (kind, text) == ("mark", mark)
        self._next += is_there
        return is_there


def _wrong(place: int, text: str, wanted: str) -> ApiError:
    words = f'1:{place + 1}: unexpected token "{text}" (expected {wanted}). {_HINT}'
    return ApiError(400, f"invalid filter query syntax: error parsing filter query: {words}")


def _holds(row: Row, field: str, value: Any, compare: Callable[[Any, Any], bool]) -> bool:
    name, _, kind = field.rpartition(".")
    if kind not in _TYPES or not name:
        name, kind = field, ""
    name = name.strip("`")
    if name in _CORE and not field.startswith("`"):
        return _compared(_core(row, name), value, compare)
    stored = dict(row.shown()).get(name)
    if stored is None:
        return False
    wanted = (kind,) if kind else _types_of(value)
    found = [_read(type_, stored[type_]) for type_ in wanted if type_ in stored]
    return any(_compared(entry, value, compare) for entry in found)


def _types_of(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("bool_value",)
    return ("string_value",) if isinstance(value, str) else ("int_value", "double_value")


def _read(type_: str, value: Any) -> Any:
    return int(value) if type_ == "int_value" else value


def _core(row: Row, name: str) -> Any:
    if name == "id":
        return row.id
    times = {"createTimeSinceEpoch": row.created, "lastUpdateTimeSinceEpoch": row.updated}
    return times.get(name, row.fields.get(name))


def _compared(left: Any, right: Any, compare: Callable[[Any, Any], bool]) -> bool:
    if left is None:
        return False
    if isinstance(left, str) or isinstance(right, str):
        return compare(str(left).lower(), str(right).lower())
    return compare(left, right)
