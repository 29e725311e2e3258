"""What a candidate must reach to be deployed: the settings of the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError

REJECT, RELEASE = "reject", "release"

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """What a candidate must reach on the evaluation rows. Shares and scores are numbers from 0 to 1.

    :param max_regression: the margin: how much macro F1 may lie below the live model's on the same rows.
    :param confidence: of the interval around the difference; its lower bound must lie above minus the margin.
    :param when_inconclusive: ``reject`` or ``release``, when the difference is within the margin and its interval is
        not: too few rows to tell.
    :param must_beat_baseline: macro F1 must be above the simple baseline's.
    :param min_class_f1: F1 of every class, or label -> F1 for some of them.
    :param min_slice_macro_f1: macro F1 of every slice.
    :param min_slice_rows: a slice with fewer rows decides nothing.
    :param max_slice_regression: how much a slice's macro F1 may be shown to lie below the live model's.
    :param max_calibration_regression: how much the expected calibration error may lie above the live model's.
    :param max_latency_ratio: median latency of one text divided by the live model's.
    :param max_size_ratio: size of the archive divided by the live model's.
    """

    max_regression: float = 0.01
    confidence: float = 0.95
    when_inconclusive: str = REJECT
    must_beat_baseline: bool = True
    min_accuracy: float = 0.0
    min_macro_f1: float = 0.0
    min_class_f1: float | Mapping[str, float] = 0.0
    min_slice_macro_f1: float = 0.0
    min_slice_rows: int = 50
    max_slice_regression: float = 0.05
    max_expected_calibration_error: float = 1.0
    max_calibration_regression: float = 0.1
    max_latency_ratio: float = 3.0
    max_size_ratio: float = 3.0

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> GatePolicy:
        """Read settings in which templates may have turned numbers and booleans into text.

        :raises InvalidRequestError: naming every setting that is unknown or has no possible value.
        """
        known = {field.name for field in fields(cls)}
        problems = [f"{name!r} is no setting of the gate" for name in settings if name not in known]
        values: dict[str, Any] = {}
        for name in known & settings.keys():
            try:
                values[name] = _READ.get(name, _fraction)(settings[name])
            except ValueError as error:
                problems.append(f"{name}: {error}, not {settings[name]!r}")
        if problems:
            raise InvalidRequestError(f"Gate policy: {'; '.join(sorted(problems))}.")
        return cls(**values)


def _number(value: Any) -> float:
    """Return the number, or NaN, which lies in no range."""
    try:
        return float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return float("nan")


def _fraction(value: Any) -> float:
    if not 0 <= (number := _number(value)) <= 1:
        raise ValueError("must be a number from 0 to 1")
    return number


def _confidence(value: Any) -> float:
    if not 0.5 <= (number := _number(value)) < 1:
        raise ValueError("must be a number from 0.5 to below 1")
    return number


def _ratio(value: Any) -> float:
    if not 0 < (number := _number(value)) < float("inf"):
        raise ValueError("must be a number above 0")
    return number


def _rows(value: Any) -> int:
    number = _number(value)
    if not (number >= 1 and number.is_integer()):
        raise ValueError("must be a whole number above 0")
    return int(number)


def _floors(value: Any) -> float | dict[str, float]:
    if isinstance(value, Mapping):
        return {str(label): _fraction(floor) for label, floor in value.items()}
    return _fraction(value)


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise ValueError("must be true or false")
    return _WORDS[word]


def _inconclusive(value: Any) -> str:
    if value not in (REJECT, RELEASE):
        raise ValueError(f"must be {REJECT!r} or {RELEASE!r}")
    return str(value)


#: How settings are read that are no fractions.
_READ: Mapping[str, Callable[[Any], Any]] = {
    "confidence": _confidence,
    "when_inconclusive": _inconclusive,
    "must_beat_baseline": _boolean,
    "min_class_f1": _floors,
    "min_slice_rows": _rows,
    "max_latency_ratio": _ratio,
    "max_size_ratio": _ratio,
}
