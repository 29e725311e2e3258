"""Decides whether a candidate is good enough to be deployed at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from kubeflow_provider.candidate import Candidate
from kubeflow_provider.exceptions import InvalidRequestError

#: Two figures that differ by less than this are the same: sums of floats are not exact.
_ROUNDING = 1e-9

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """What a candidate must reach on the evaluation rows.

    :param min_accuracy: 0 to 1.
    :param min_macro_f1: 0 to 1.
    :param max_expected_calibration_error: 0 to 1.
    :param max_regression: how much macro F1 may lie below the live model's on the same rows, 0 to 1.
    :param must_beat_baseline: macro F1 must be above the simple baseline's on the same rows.
    """

    min_accuracy: float = 0.0
    min_macro_f1: float = 0.0
    max_expected_calibration_error: float = 1.0
    max_regression: float = 0.01
    must_beat_baseline: bool = True

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> GatePolicy:
        """Read settings in which templates may have turned numbers and booleans into text.

        :raises InvalidRequestError: naming every setting that is unknown or has no possible value.
        """
        known = {field.name for field in fields(cls)}
        problems = [f"{name!r} is no setting of the gate" for name in settings if name not in known]
        values: dict[str, Any] = {}
        for name in known & settings.keys():
            read = _boolean if name == "must_beat_baseline" else _fraction
            try:
                values[name] = read(settings[name])
            except ValueError as error:
                problems.append(f"{name}: {error}, not {settings[name]!r}")
        if problems:
            raise InvalidRequestError(f"Gate policy: {'; '.join(sorted(problems))}.")
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The gate's word.

    :param accepted: whether the candidate may be deployed.
    :param reasons: one for every condition that it missed; empty when accepted.
    :param line: all of it in one line, for log, registry and release card.
    """

    accepted: bool
    reasons: tuple[str, ...]
    line: str


def decide(candidate: Candidate, policy: GatePolicy) -> Decision:
    """Compare a candidate with its thresholds, the live model and the simple baseline."""
    scores = candidate.metrics["candidate"]
    if scores is None:
        raise InvalidRequestError(f"{candidate!r} has no metrics of its own.")
    checks = (
        *_thresholds(scores, policy),
        _regression(scores, candidate.metrics["champion"], policy),
        _baseline(scores, candidate.metrics["baseline"], policy),
    )
    reasons = tuple(line for passed, line in checks if not passed)
    if reasons:
        return Decision(accepted=False, reasons=reasons, line=f"rejected: {'; '.join(reasons)}")
    return Decision(accepted=True, reasons=(), line=f"accepted: {_summary(scores, candidate.metrics, policy)}")


def _thresholds(scores: Mapping[str, Any], policy: GatePolicy) -> list[tuple[bool, str]]:
    # Each condition says what must hold, so that a NaN, which compares as false with everything, misses it.
    accuracy, macro_f1 = scores["accuracy"], scores["macro_f1"]
    error, limit = scores["expected_calibration_error"], policy.max_expected_calibration_error
    return [
        (
            accuracy >= policy.min_accuracy - _ROUNDING,
            f"accuracy {accuracy:.4f}, at least {policy.min_accuracy:.4f} is needed",
        ),
        (
            macro_f1 >= policy.min_macro_f1 - _ROUNDING,
            f"macro F1 {macro_f1:.4f}, at least {policy.min_macro_f1:.4f} is needed",
        ),
        (error <= limit + _ROUNDING, f"expected calibration error {error:.4f}, at most {limit:.4f} is allowed"),
    ]


def _regression(scores: Mapping[str, Any], live: Mapping[str, Any] | None, policy: GatePolicy) -> tuple[bool, str]:
    if live is None:
        return True, ""
    difference = scores["macro_f1"] - live["macro_f1"]
    return difference >= -policy.max_regression - _ROUNDING, _against_live(scores, live, policy)


def _baseline(scores: Mapping[str, Any], baseline: Mapping[str, Any] | None, policy: GatePolicy) -> tuple[bool, str]:
    if not policy.must_beat_baseline:
        return True, ""
    if baseline is None:
        return False, "there is no baseline to beat"
    passed = scores["macro_f1"] > baseline["macro_f1"] + _ROUNDING
    return passed, f"macro F1 {scores['macro_f1']:.4f}, not above the baseline's {baseline['macro_f1']:.4f}"


def _against_live(scores: Mapping[str, Any], live: Mapping[str, Any], policy: GatePolicy) -> str:
    difference = scores["macro_f1"] - live["macro_f1"]
    return (
        f"macro F1 {scores['macro_f1']:.4f}, live {live['macro_f1']:.4f}, "
        f"difference {difference:+.4f}, margin {policy.max_regression:.4f}"
    )


def _summary(scores: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any] | None], policy: GatePolicy) -> str:
    live, baseline = metrics["champion"], metrics["baseline"]
    macro_f1 = _against_live(scores, live, policy) if live else f"macro F1 {scores['macro_f1']:.4f}, first release"
    return f"{macro_f1}, baseline {baseline['macro_f1']:.4f}" if baseline else macro_f1


def _fraction(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise ValueError("must be a number from 0 to 1")
    return number


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise ValueError("must be true or false")
    return _WORDS[word]
