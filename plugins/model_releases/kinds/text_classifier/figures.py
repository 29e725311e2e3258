"""What was measured of a text classifier, beside the live model, the baseline and what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from include.contracts.kinds.text_classifier import Metrics
from include.contracts.metrics import MAIN_METRICS
from include.contracts.settings import GateConfig


def figures(metrics: Metrics, policy: GateConfig | None) -> list[Sequence[str]]:
    """Return the table of the release card, its head first.

    :param policy: what was asked of the candidate, where the gate was reached.
    """
    needed = _needed(metrics, policy) if policy else {}
    rows: list[Sequence[str]] = [("on the same rows", "candidate", "live", "baseline", "needed")]
    for name, title, _ in MAIN_METRICS:
        cells = [
            f"{getattr(scores, name):.4f}" if scores else "-"
            for scores in (metrics.candidate, metrics.live, metrics.baseline)
        ]
        rows.append((title, *cells, needed.get(name, "")))
    return rows


def _needed(metrics: Metrics, policy: GateConfig) -> dict[str, str]:
    """Return the bounds that count: of several for one metric the strictest."""
    live, baseline = metrics.live, metrics.baseline.macro_f1
    at_least = max(policy.min_macro_f1, live.macro_f1 - policy.max_regression if live else 0.0)
    macro_f1 = f">= {at_least:.4f}"
    if policy.must_beat_baseline and baseline >= at_least:
        macro_f1 = f">  {baseline:.4f}"
    return {
        "accuracy": f">= {policy.min_accuracy:.4f}",
        "macro_f1": macro_f1,
        "expected_calibration_error": f"<= {policy.max_expected_calibration_error:.4f}",
    }
