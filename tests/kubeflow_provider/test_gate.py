"""Which candidates the gate lets through, and what it says about the others."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kubeflow_provider.candidate import Candidate
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.gate import GatePolicy, decide


def scores(macro_f1: float, *, accuracy: float = 0.9, expected_calibration_error: float = 0.05) -> dict[str, Any]:
    return {
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "log_loss": 0.3,
        "expected_calibration_error": expected_calibration_error,
    }


def candidate(own: dict[str, Any], live: float | None = None, baseline: float = 0.5) -> Candidate:
    return Candidate(
        model="reviews",
        version="20260101000000",
        archive_uri="s3://models/1",
        archive_sha256="0" * 64,
        metrics={
            "candidate": own,
            "champion": None if live is None else scores(live),
            "baseline": scores(baseline),
        },
        golden_examples=(),
        document={},
    )


@pytest.mark.parametrize(
    "own, live, policy, accepted",
    [
        # Thresholds include their own value.
        (scores(0.9), None, {"min_macro_f1": 0.9}, True),
        (scores(0.8999), None, {"min_macro_f1": 0.9}, False),
        (scores(0.9, accuracy=0.85), None, {"min_accuracy": 0.85}, True),
        (scores(0.9, accuracy=0.8499), None, {"min_accuracy": 0.85}, False),
        (scores(0.9, expected_calibration_error=0.1), None, {"max_expected_calibration_error": 0.1}, True),
        (scores(0.9, expected_calibration_error=0.1001), None, {"max_expected_calibration_error": 0.1}, False),
        # The live model is what counts on the same rows; 0.89 - 0.90 is not exactly -0.01.
        (scores(0.89), 0.90, {"max_regression": 0.01}, True),
        (scores(0.8899), 0.90, {"max_regression": 0.01}, False),
        (scores(0.95), 0.90, {"max_regression": 0.0}, True),
        (scores(0.90), 0.90, {"max_regression": 0.0}, True),
        (scores(0.8999), 0.90, {"max_regression": 0.0}, False),
        # The baseline must be beaten, not met, and only if asked for.
        (scores(0.5), None, {"must_beat_baseline": True}, False),
        (scores(0.5001), None, {"must_beat_baseline": True}, True),
        (scores(0.4), None, {"must_beat_baseline": False}, True),
        # What could not be computed is never good enough.
        (scores(math.nan), None, {"must_beat_baseline": False}, False),
        (scores(0.9, accuracy=math.nan), None, {}, False),
        (scores(0.9, expected_calibration_error=math.nan), None, {}, False),
        (scores(0.9), math.nan, {}, False),
    ],
)
def test_the_candidate_is_accepted_exactly_when_every_condition_holds(
    own: dict[str, Any], live: float | None, policy: dict[str, Any], accepted: bool
) -> None:
    decision = decide(candidate(own, live), GatePolicy.from_settings(policy))
    assert decision.accepted is accepted
    assert decision.line.startswith("accepted: " if accepted else "rejected: ")
    assert bool(decision.reasons) is not accepted


def test_a_rejection_says_by_how_much() -> None:
    decision = decide(candidate(scores(0.871), live=0.893), GatePolicy(max_regression=0.01))
    assert decision.line == "rejected: macro F1 0.8710, live 0.8930, difference -0.0220, margin 0.0100"


def test_a_rejection_names_everything_that_was_missed() -> None:
    policy = GatePolicy(min_accuracy=0.95, min_macro_f1=0.99, max_expected_calibration_error=0.01)
    decision = decide(candidate(scores(0.4), live=0.8), policy)
    assert decision.reasons == (
        "accuracy 0.9000, at least 0.9500 is needed",
        "macro F1 0.4000, at least 0.9900 is needed",
        "expected calibration error 0.0500, at most 0.0100 is allowed",
        "macro F1 0.4000, live 0.8000, difference -0.4000, margin 0.0100",
        "macro F1 0.4000, not above the baseline's 0.5000",
    )
    assert decision.line == f"rejected: {'; '.join(decision.reasons)}"


def test_an_acceptance_says_what_it_was_compared_with() -> None:
    assert decide(candidate(scores(0.9), live=0.88), GatePolicy()).line == (
        "accepted: macro F1 0.9000, live 0.8800, difference +0.0200, margin 0.0100, baseline 0.5000"
    )
    assert decide(candidate(scores(0.9)), GatePolicy()).line == (
        "accepted: macro F1 0.9000, first release, baseline 0.5000"
    )


def test_text_from_templates_is_read_as_what_it_says() -> None:
    settings = {"min_accuracy": "0.5", "min_macro_f1": "1", "max_regression": 0, "must_beat_baseline": "False"}
    assert GatePolicy.from_settings(settings) == GatePolicy(
        min_accuracy=0.5, min_macro_f1=1.0, max_regression=0.0, must_beat_baseline=False
    )


def test_a_policy_without_meaning_is_refused_with_all_that_is_wrong() -> None:
    settings = {
        "min_acuracy": 0.9,
        "min_macro_f1": "",
        "max_regression": 1.5,
        "min_accuracy": True,
        "max_expected_calibration_error": "nan",
        "must_beat_baseline": "maybe",
    }
    with pytest.raises(InvalidRequestError) as error:
        GatePolicy.from_settings(settings)
    for name in settings:
        assert name in str(error.value)
