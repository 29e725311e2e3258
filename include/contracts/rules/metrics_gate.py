"""Decides whether a candidate is good enough by named metrics, each with a direction, bounds and a margin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate, MeasuredMetric
from include.contracts.kinds.kubeflow_settings import MetricConfig, MetricsGate
from include.contracts.rules.gate import Decision, not_up_to_date, rejection

#: Two figures that differ by less than this, of the larger one, are the same: sums of floats are not exact.
_ROUNDING = 1e-9


def decide_by_metrics(
    candidate: KubeflowModelCandidate,
    policy: MetricsGate,
    *,
    live_version: str | None,
    live_at_start: str | None = None,
) -> Decision:
    """Compare a candidate with its bounds, and with what was recorded of the live version when it was released.

    :param live_version: what is live now, ``None`` before the first release.
    :param live_at_start: what was live when the release began.
    """
    outdated = not_up_to_date(candidate, live_version=live_version, live_at_start=live_at_start)
    if reasons := [*([outdated] if outdated else []), *missed(candidate.metrics, policy)]:
        return rejection(reasons)
    measured = {metric.name: metric for metric in candidate.metrics}
    main = measured[policy.metrics[0].name]
    line = f"accepted: {_compared(main, candidate.live_version)}"
    others = (_compared(measured[asked.name], None) for asked in policy.metrics[1:])
    return Decision(accepted=True, reasons=(), line=line, text=", ".join([line, *others]))


def missed(metrics: Sequence[MeasuredMetric], policy: MetricsGate) -> list[str]:
    """Return a sentence for each metric that is not good enough."""
    measured = {metric.name: metric for metric in metrics}
    return [reason for asked in policy.metrics for reason in _missed(asked, measured.get(asked.name))]


def needed(asked: MetricConfig, metric: MeasuredMetric) -> tuple[float | None, float | None]:
    """Return what a metric must be at least and at most, its margin to the live version's included."""
    least, most = asked.at_least, asked.at_most
    if asked.max_regression is not None and metric.live is not None:
        if asked.better == "higher":
            bound = metric.live - asked.max_regression
            least = bound if least is None else max(least, bound)
        else:
            bound = metric.live + asked.max_regression
            most = bound if most is None else min(most, bound)
    return least, most


def _missed(asked: MetricConfig, metric: MeasuredMetric | None) -> Iterator[str]:
    if metric is None:
        yield f"{asked.name} was not measured"
        return
    least, most = needed(asked, metric)
    slack = _ROUNDING * max(1.0, abs(metric.value))
    live = "" if metric.live is None or asked.max_regression is None else f" (live {metric.live:.6g})"
    if least is not None and not metric.value >= least - slack:
        yield f"{asked.name} {metric.value:.6g}, at least {least:.6g} is needed{live}"
    if most is not None and not metric.value <= most + slack:
        yield f"{asked.name} {metric.value:.6g}, at most {most:.6g} is allowed{live}"


def _compared(metric: MeasuredMetric, live_version: str | None) -> str:
    found = f"{metric.name} {metric.value:.6g}"
    if metric.live is not None:
        return f"{found}, live {metric.live:.6g}"
    return f"{found}, not comparable with live {live_version}" if live_version else found
