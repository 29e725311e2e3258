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
