"""What was measured of a text classifier, beside the live model, the baseline and what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.contracts.kinds.text_classifier import Metrics, SliceScores, TextClassifierCandidate
from include.contracts.metrics import MAIN_METRICS
from include.contracts.printable import printable
from include.contracts.settings import GateConfig

#: Slices that the card has room for; the approval card and the report have all.
_MOST_SLICES = 10


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


def slice_figures(candidate: TextClassifierCandidate, policy: GateConfig | None) -> Iterator[Sequence[str]]:
    """Yield a row for each slice that has a name, and for the worst that has none where it stands out.

    No word of a text is in it: the card goes to logs.

    :param policy: as above.
    """
    metrics = candidate.metrics
    named = [part for part in metrics.candidate.slices if part.rule]
    others = [
        {part.name: part for part in scores.slices} if scores else {} for scores in (metrics.live, metrics.baseline)
    ]
    for part in named[:_MOST_SLICES]:
        found = (f"{other[part.name].macro_f1:.4f}" if part.name in other else "-" for other in others)
        yield f"slice {printable(part.name)}", f"{part.macro_f1:.4f}", *found, _floor(part, policy)
    if len(named) > _MOST_SLICES:
        yield f"{len(named) - _MOST_SLICES} more slices", "", "", "", ""
    if (worst := candidate.worst_slice) and worst.stands_out:
        yield f"accuracy of texts {worst.description}", f"{worst.accuracy:.4f}", "-", "-", ""


def _floor(part: SliceScores, policy: GateConfig | None) -> str:
    floors = policy.min_slice_macro_f1 if policy else {}
    if isinstance(floors, dict):
        return f">= {floors[part.name]:.4f}" if floors.get(part.name) else ""
    return f">= {floors:.4f}" if floors and policy and part.rows >= policy.min_slice_rows else ""


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
