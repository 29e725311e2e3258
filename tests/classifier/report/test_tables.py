"""The figures of the report's tables."""

from __future__ import annotations

import numpy as np
import pytest

from include.classifier.metrics import expected_calibration_error
from include.classifier.report.tables import (
    Difference,
    calibration_bins,
    class_rows,
    metric_rows,
    mistakes,
    served_rows,
    signed,
    slice_rows,
)
from tests.classifier.made_up_evaluation import made_up_evaluation

LABELS = ["bad", "fine", "good"]


def test_bins_hold_every_row_and_give_the_calibration_error() -> None:
    found, _ = made_up_evaluation(LABELS)
    probabilities = found.probabilities["candidate"]
    bins = calibration_bins(found.truth, probabilities)
    assert sum(each.rows for each in bins) == len(found.truth)
    error = sum(each.rows * abs(each.confidence - each.accuracy) for each in bins) / len(found.truth)
    assert error == pytest.approx(expected_calibration_error(found.truth, probabilities))
    assert all(each.low < each.confidence <= each.high for each in bins)


def test_only_an_interval_on_one_side_of_0_is_a_verdict() -> None:
    assert Difference("x", 0.02, 0.01, 0.03).verdict == "better"
    assert Difference("x", -0.02, -0.03, -0.01).verdict == "worse"
    assert Difference("x", 0.02, 0.0, 0.04).verdict == "unclear"
    assert str(Difference("x", 0.02, -0.01, 0.03)) == "+0.0200 (-0.0100 to +0.0300)"


def test_a_difference_keeps_its_sign() -> None:
    assert (signed(0.5), signed(-0.5)) == ("+0.5000", "-0.5000")


def test_metrics_stand_beside_those_of_the_live_model_and_of_the_baseline() -> None:
    found, _ = made_up_evaluation(LABELS)
    rows = {row.name: row for row in metric_rows(found.metrics, found.comparison)}
    macro_f1, log_loss = rows["macro F1"], rows["log loss"]
    assert (macro_f1.candidate, macro_f1.live, macro_f1.baseline) == tuple(
        found.metrics[who]["macro_f1"] for who in ("candidate", "live", "baseline")
    )
    assert isinstance(macro_f1.change, Difference)
    assert log_loss.change == log_loss.candidate - (log_loss.live or 0)
    assert not log_loss.higher_is_better


def test_without_a_live_model_nothing_is_compared() -> None:
    found, document = made_up_evaluation(LABELS, live=False)
    rows = [
        *metric_rows(found.metrics, None),
        *class_rows(found.metrics, None),
        *slice_rows(found.metrics, None),
    ]
    assert {row.change for row in rows} == {None}
    assert {live for _, _, live in served_rows(document)} == {""}


def test_how_the_precision_was_chosen_is_shown() -> None:
    _, document = made_up_evaluation(LABELS)
    measured = {
        "variant": "onnx-int8",
        "texts_per_second": 50.04,
        "largest_difference": 0.0123,
        "label_changes": 0.005,
        "allowed": True,
    }
    document["serving"]["precision"] = {
        "chosen": "onnx-int8",
        "reason": "fastest within the bounds",
        "rows": 128,
        "measured": [measured],
        "needs": ["amx_bf16"],
    }

    assert list(served_rows(document))[-3:] == [
        ("runtime and precision", "onnx-int8 (fastest within the bounds)", ""),
        ("needs of the processor", "amx_bf16; torch-float32 is computed without", ""),
        ("measured: onnx-int8", "50.0 texts/s, probabilities differ by 0.0123, 0.5% of labels", ""),
    ]


def test_mistakes_come_with_the_most_frequent_first_and_hits_are_none() -> None:
    candidate = np.array([[50, 3, 0], [7, 40, 0], [1, 0, 30]])
    live = np.array([[49, 4, 0], [5, 42, 0], [0, 0, 31]])
    assert [tuple(each) for each in mistakes(candidate, live, LABELS)] == [
        ("fine", "bad", 7, 5),
        ("bad", "fine", 3, 4),
        ("good", "bad", 1, 0),
    ]
    assert [each.live_rows for each in mistakes(candidate, None, LABELS)] == [None, None, None]
