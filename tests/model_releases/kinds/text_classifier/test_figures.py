"""What the release card shows of a text classifier."""

from __future__ import annotations

from typing import Any

import pytest

from include.contracts.kinds.text_classifier import Metrics
from include.contracts.settings import GateConfig
from model_releases.kinds.text_classifier.figures import figures
from tests import candidates


def scores(macro_f1: float) -> dict[str, Any]:
    return candidates.scores(macro_f1, accuracy=0.9312, log_loss=0.25, expected_calibration_error=0.0417)


def metrics(live: float | None = 0.92) -> Metrics:
    return candidates.candidate(scores(0.93), None if live is None else scores(live), scores(0.85)).metrics


def test_all_three_stand_beside_what_was_asked_for() -> None:
    policy = GateConfig(min_accuracy=0.8, min_macro_f1=0.9, max_regression=0.01)
    assert figures(metrics(), policy) == [
        ("on the same rows", "candidate", "live", "baseline", "needed"),
        ("macro F1", "0.9300", "0.9200", "0.8500", ">= 0.9100"),
        ("accuracy", "0.9312", "0.9312", "0.9312", ">= 0.8000"),
        ("log loss", "0.2500", "0.2500", "0.2500", ""),
        ("calibration error", "0.0417", "0.0417", "0.0417", "<= 1.0000"),
    ]
    assert {row[-1] for row in figures(metrics(), None)} == {"needed", ""}


@pytest.mark.parametrize(
    "policy, live, needed",
    [
        (GateConfig(min_macro_f1=0.7, must_beat_baseline=True), None, ">  0.8500"),
        (GateConfig(min_macro_f1=0.7, must_beat_baseline=False), None, ">= 0.7000"),
        (GateConfig(min_macro_f1=0.9, must_beat_baseline=True), None, ">= 0.9000"),
        (GateConfig(min_macro_f1=0.9, max_regression=0.05), 0.92, ">= 0.9000"),
        (GateConfig(min_macro_f1=0.9, max_regression=0.0), 0.92, ">= 0.9200"),
    ],
)
def test_of_several_bounds_the_strictest_is_shown(policy: GateConfig, live: float | None, needed: str) -> None:
    (row,) = [row for row in figures(metrics(live), policy) if row[0] == "macro F1"]
    assert row[-1] == needed
    assert ("-" in row) is (live is None)
