"""The gate of models that are judged by named metrics."""

from __future__ import annotations

from typing import Any

import pytest

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.kubeflow_settings import MetricsGate
from include.contracts.rules.gate import Decision
from include.contracts.rules.metrics_gate import decide_by_metrics
from tests.own_models import BEFORE, SETTINGS, VERSION, compared, document


def decided(accuracy: tuple[float, float | None], log_loss: tuple[float, float | None], **live: Any) -> Decision:
    is_first = accuracy[1] is None and log_loss[1] is None
    made = document(metrics=compared(accuracy, log_loss), live_version=None if is_first else BEFORE)
    candidate = KubeflowModelCandidate.read(made, where="candidate.json")
    policy = MetricsGate(metrics=SETTINGS["metrics"])
    return decide_by_metrics(candidate, policy, **{"live_version": None if is_first else BEFORE, **live})


def test_a_first_release_needs_its_bounds_alone() -> None:
    decision = decided((0.9, None), (0.5, None))
    assert decision.accepted
    assert decision.line == "accepted: accuracy 0.9"
    assert decision.text == "accepted: accuracy 0.9, log_loss 0.5"


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "reasons"),
    [
        ((0.89, None), (0.2, None), ["accuracy 0.89, at least 0.9 is needed"]),
        ((0.95, None), (0.6, None), ["log_loss 0.6, at most 0.5 is allowed"]),
        ((0.95, 0.98), (0.2, 0.2), ["accuracy 0.95, at least 0.96 is needed (live 0.98)"]),
        ((0.98, 0.98), (0.35, 0.2), ["log_loss 0.35, at most 0.3 is allowed (live 0.2)"]),
        (
            (0.5, 0.98),
            (0.9, 0.2),
            ["accuracy 0.5, at least 0.96 is needed (live 0.98)", "log_loss 0.9, at most 0.3 is allowed (live 0.2)"],
        ),
    ],
)
def test_what_is_worse_in_its_own_direction_is_rejected(
    accuracy: tuple[float, float | None], log_loss: tuple[float, float | None], reasons: list[str]
) -> None:
    decision = decided(accuracy, log_loss)
    assert not decision.accepted
    assert list(decision.reasons) == reasons
    assert decision.text == f"rejected: {'; '.join(reasons)}"


def test_better_than_live_in_both_directions_and_within_the_margin_is_accepted() -> None:
    assert decided((0.99, 0.95), (0.1, 0.3)).line == "accepted: accuracy 0.99, live 0.95"
    assert decided((0.96, 0.98), (0.3, 0.2)).accepted  # both exactly at the margin


def test_what_was_compared_with_another_version_than_the_live_one_is_rejected() -> None:
    decision = decided((0.99, 0.95), (0.1, 0.3), live_version="20260101120000")
    assert not decision.accepted
    assert f"compared with {BEFORE}, but 20260101120000 is live now" in decision.line
    assert decided((0.99, 0.95), (0.1, 0.3), live_version=VERSION).accepted


def test_a_metric_that_was_not_measured_is_rejected() -> None:
    candidate = KubeflowModelCandidate.read(document(), where="candidate.json")
    policy = MetricsGate(metrics=[{"name": "recall"}])
    assert decide_by_metrics(candidate, policy, live_version=None).reasons == ("recall was not measured",)


def paired(
    accuracy: tuple[float, float],
    bounds: tuple[float, float] | None,
    *,
    figure: str = "accuracy",
    margin: float = 0.02,
    **settings: Any,
) -> Decision:
    """Return the word on one metric that was compared with live 0.9 row by row."""
    is_error = figure == "mean_absolute_error"
    metric = {"name": "score", "higher_is_better": not is_error, "value": accuracy[0], "live": accuracy[1]}
    difference = accuracy[0] - accuracy[1]
    comparison = bounds and {
        "version": BEFORE,
        "rows": 150,
        "confidence": 0.95,
        "differences": [{"name": "score", "difference": difference, "low": bounds[0], "high": bounds[1]}],
    }
    reason = "" if bounds else f"live {BEFORE} has kept no predictions"
    made = document(metrics=[metric], live_version=BEFORE, comparison=comparison, not_comparable=reason)
    asked = {"name": "score", "from_predictions": figure, "max_regression": margin}
    policy = MetricsGate(metrics=[asked | {"better": "lower" if is_error else "higher"}], **settings)
    candidate = KubeflowModelCandidate.read(made, where="candidate.json")
    return decide_by_metrics(candidate, policy, live_version=BEFORE)


@pytest.mark.parametrize(
    ("bounds", "settings", "line"),
    [
        (
            (-0.015, 0.005),
            {},
            "accepted: score 0.895, live 0.900, difference -0.005, 95 % interval -0.015 to +0.005, margin 0.02",
        ),
        (
            (-0.03, 0.02),
            {},
            "rejected: score 0.895, live 0.900, difference -0.005, 95 % interval -0.030 to +0.020, margin 0.02, "
            "inconclusive: 150 rows are too few to tell",
        ),
        (
            (-0.03, 0.02),
            {"when_inconclusive": "release"},
            "accepted: score 0.895, live 0.900, difference -0.005, 95 % interval -0.030 to +0.020, margin 0.02, "
            "inconclusive: 150 rows are too few to tell",
        ),
        (
            (-0.015, 0.005),
            {"confidence": 0.99},
            "rejected: score 0.895, live 0.900, difference -0.005, 95 % interval -0.015 to +0.005, margin 0.02, "
            "99 % are asked for; start a new release",
        ),
        (
            None,
            {},
            "accepted: score 0.895, live 0.900, difference -0.005, margin 0.02, no interval: "
            f"live {BEFORE} has kept no predictions",
        ),
    ],
)
def test_what_is_compared_row_by_row_is_judged_as_text_classifiers_are(
    bounds: tuple[float, float] | None, settings: dict[str, Any], line: str
) -> None:
    assert paired((0.895, 0.9), bounds, **settings).line == line


def test_an_error_may_grow_by_the_margin_and_no_more() -> None:
    def found(bounds: tuple[float, float], value: float = 1210.0) -> Decision:
        return paired((value, 1200.0), bounds, figure="mean_absolute_error", margin=25)

    assert found((-5, 25)).line == (
        "accepted: score 1210, live 1200, difference +10, 95 % interval -5 to +25, margin 25"
    )
    assert "inconclusive" in found((-5, 26)).line
    assert not found((-5, 26)).accepted
    assert found((10, 60), 1235.0).line == (
        "rejected: score 1235, live 1200, difference +35, 95 % interval +10 to +60, margin 25"
    )


def test_bounds_hold_beside_the_margin_and_a_margin_of_the_record_is_not_asked_twice() -> None:
    made = document(metrics=compared((0.89, 0.95), (0.2, 0.2)), live_version=BEFORE)
    candidate = KubeflowModelCandidate.read(made, where="candidate.json")
    first = SETTINGS["metrics"][0] | {"from_predictions": "accuracy"}
    decision = decide_by_metrics(candidate, MetricsGate(metrics=[first]), live_version=BEFORE)
    assert list(decision.reasons) == [
        "accuracy 0.890, live 0.950, difference -0.060, margin 0.02, no interval: its rows were not paired",
        "accuracy 0.89, at least 0.9 is needed",
    ]
