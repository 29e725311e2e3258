"""What was measured of a model, beside what is recorded of the live version and what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from include.contracts.kinds.kubeflow_model import MeasuredMetric
from include.contracts.kinds.kubeflow_settings import MetricsGate
from include.contracts.rules.metrics_gate import needed


def figures(metrics: Sequence[MeasuredMetric], policy: MetricsGate | None) -> list[Sequence[str]]:
    """Return the table of the release card, its head first.

    :param policy: what was asked of the candidate, where the gate was reached.
    """
    asked = {each.name: each for each in policy.metrics} if policy else {}
    rows: list[Sequence[str]] = [("as recorded", "candidate", "live", "needed")]
    for metric in metrics:
        least, most = needed(asked[metric.name], metric) if metric.name in asked else (None, None)
        bounds = [f">= {least:.6g}" if least is not None else "", f"<= {most:.6g}" if most is not None else ""]
        live = "-" if metric.live is None else f"{metric.live:.6g}"
        rows.append((metric.name, f"{metric.value:.6g}", live, " ".join(filter(None, bounds))))
    return rows
