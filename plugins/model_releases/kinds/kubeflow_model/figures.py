"""What was measured of a model, beside what is recorded of the live version and what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.kinds.kubeflow_settings import MetricsGate
from include.contracts.rules.metrics_gate import needed


def figures(candidate: KubeflowModelCandidate, policy: MetricsGate | None) -> list[Sequence[str]]:
    """Return the table of the release card, its head first; with intervals where rows were compared in pairs.

    :param policy: what was asked of the candidate, where the gate was reached.
    """
    asked = {each.name: each for each in policy.metrics} if policy else {}
    comparison = candidate.comparison
    head = [f"{100 * comparison.confidence:g} % interval"] if comparison else []
    rows: list[Sequence[str]] = [("metric", "candidate", "live", *head, "needed")]
    for metric in candidate.metrics:
        least, most = needed(asked[metric.name], metric) if metric.name in asked else (None, None)
        bounds = [f">= {least:.6g}" if least is not None else "", f"<= {most:.6g}" if most is not None else ""]
        live = "-" if metric.live is None else f"{metric.live:.6g}"
        found = comparison.bounds(metric.name) if comparison else None
        interval = [f"{found.low:+.4g} to {found.high:+.4g}" if found else "-"] if comparison else []
        rows.append((metric.name, f"{metric.value:.6g}", live, *interval, " ".join(filter(None, bounds))))
    return rows
