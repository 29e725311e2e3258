"""What the release card shows of a text classifier."""

from __future__ import annotations

from typing import Any

import pytest

from include.contracts.kinds.text_classifier import Metrics
from include.contracts.settings import GateConfig
from model_releases.kinds.text_classifier.figures import figures, slice_figures
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


def test_slices_with_a_name_and_one_that_stands_out_have_a_row_without_a_word_of_a_text() -> None:
    def part(name: str, macro_f1: float, **more: Any) -> dict[str, Any]:
        return {"name": name, "rows": 60, "accuracy": macro_f1, "macro_f1": macro_f1, **more}

    own = [part("Ger\x1bman", 0.7, rule="language de"), part("short", 0.8, rule="at most 5 words"), part("third", 0.9)]
    worst = {"kind": "word", "description": "with a common word", "word": "secret", "tried": 9, "rows": 80}
    worst |= {"measured_rows": 41, "accuracy": 0.61, "accuracy_interval": {"low": 0.46, "high": 0.74}}
    worst |= {"accuracy_elsewhere": 0.9, "difference": {"difference": -0.3, "low": -0.4, "high": -0.2}}
    worst |= {"confidence": 0.95, "stands_out": True}
    live = candidates.scores(0.9, slices=[part("short", 0.75)])
    one = candidates.candidate(candidates.scores(0.93, slices=own), live, scores(0.85), worst_slice=worst)

    assert list(slice_figures(one, GateConfig.model_validate({"min_slice_macro_f1": {"short": 0.5}}))) == [
        ("slice Ger\\x1bman", "0.7000", "-", "-", ""),
        ("slice short", "0.8000", "0.7500", "-", ">= 0.5000"),
        ("accuracy of texts with a common word", "0.6100", "-", "-", ""),
    ]
    assert [row[-1] for row in slice_figures(one, GateConfig(min_slice_macro_f1=0.6))] == [">= 0.6000"] * 2 + [""]
    assert "secret" not in str(list(slice_figures(one, None)))
    many = candidates.candidate(candidates.scores(slices=[part(str(n), 0.5, rule="x") for n in range(14)]))
    assert list(slice_figures(many, None))[-1][0] == "4 more slices"
