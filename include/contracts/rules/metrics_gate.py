"""Decides whether a candidate is good enough by named metrics, each with a direction, bounds and a margin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate, MeasuredMetric
from include.contracts.kinds.kubeflow_settings import MetricConfig, MetricsGate
from include.contracts.rules.gate import Decision, not_up_to_date, rejection
from include.contracts.rules.non_inferiority import ROUNDING, Check, Terms, no_worse


def decide_by_metrics(
    candidate: KubeflowModelCandidate,
    policy: MetricsGate,
    *,
    live_version: str | None,
    live_at_start: str | None = None,
) -> Decision:
    """Compare a candidate with its bounds, and with the live version: row by row, or by what is recorded of it.

    :param live_version: what is live now, ``None`` before the first release.
    :param live_at_start: what was live when the release began.
    """
    outdated = not_up_to_date(candidate, live_version=live_version, live_at_start=live_at_start)
    paired = {asked.name: check for asked in policy.metrics if (check := _paired(candidate, asked, policy))}
    worse = [check.line for check in paired.values() if not check.passed]
    if reasons := [*([outdated] if outdated else []), *worse, *missed(candidate.metrics, policy, leave_out=[*paired])]:
        return rejection(reasons)
    measured = {metric.name: metric for metric in candidate.metrics}

    def told(name: str, live_version: str | None) -> str:
        return paired[name].line if name in paired else _compared(measured[name], live_version)

    line = f"accepted: {told(policy.metrics[0].name, candidate.live_version)}"
    others = (told(asked.name, None) for asked in policy.metrics[1:])
    return Decision(accepted=True, reasons=(), line=line, text=", ".join([line, *others]))


def _paired(candidate: KubeflowModelCandidate, asked: MetricConfig, policy: MetricsGate) -> Check | None:
    """Compare a metric with the live version row by row; ``None`` where that is not asked, or nothing is live."""
    metric = next((each for each in candidate.metrics if each.name == asked.name), None)
    if metric is None or metric.live is None or asked.max_regression is None or not asked.from_predictions:
        return None
    return no_worse(
        metric.name,
        metric.value,
        metric.live,
        candidate.comparison.bounds(metric.name) if candidate.comparison else None,
        Terms(asked.max_regression, policy.confidence, policy.when_inconclusive),
        without_interval=candidate.not_comparable or "its rows were not paired",
        higher_is_better=metric.higher_is_better,
        decimals=_decimals(max(abs(metric.value), abs(metric.live))),
    )


def _decimals(value: float) -> int:
    """Return how many decimals show four digits of a number, or three of one below 1."""
    if not value:
        return 3
    power = math.floor(math.log10(value))
    return max(0, min(3 - (power if power >= 0 else power + 1), 12))


def missed(metrics: Sequence[MeasuredMetric], policy: MetricsGate, *, leave_out: Sequence[str] = ()) -> list[str]:
    """Return a sentence for each metric that is not good enough.

    :param leave_out: metrics whose margin to the live version is judged elsewhere; their bounds hold all the same.
    """
    measured = {metric.name: metric for metric in metrics}
    wanted = [
        asked.model_copy(update={"max_regression": None}) if asked.name in leave_out else asked
        for asked in policy.metrics
    ]
    return [reason for asked in wanted for reason in _missed(asked, measured.get(asked.name))]


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
    slack = ROUNDING * max(1.0, abs(metric.value))
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
