"""The difference of two releases: their metrics, and the facts in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from include.contracts.metrics import Metric, metrics_of
from include.contracts.registry_tags import METRIC_FACT_PREFIX
from model_releases.registry.service import Release
from model_releases.releases_page.history import number


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric of both.

    :param verdict: ``better``, ``worse`` or ``same``, of the other against the one; empty where one has none.
    """

    name: str
    one: float | None
    other: float | None
    verdict: str = ""

    @property
    def difference(self) -> float | None:
        """How much the other has more than the one."""
        return None if self.one is None or self.other is None else self.other - self.one


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRow:
    """One fact of both; empty where a release does not have it."""

    name: str
    one: str
    other: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two releases beside each other.

    :param same_rows: whether both were measured on the same evaluation data; ``None`` where that is not recorded.
    """

    one: Release
    other: Release
    metrics: Sequence[MetricRow]
    different: Sequence[FactRow]
    same: Sequence[FactRow]
    same_rows: bool | None


def compare(one: Release, other: Release) -> Comparison:
    """Put two releases beside each other."""
    ones, others = plain_facts(one), plain_facts(other)
    rows = [
        FactRow(name=name, one=ones.get(name, ""), other=others.get(name, ""))
        for name in sorted(ones.keys() | others.keys())
    ]
    data = one.facts.get("dataset_sha256"), other.facts.get("dataset_sha256")
    return Comparison(
        one=one,
        other=other,
        metrics=[_metric_row(metric, one, other) for metric in _metrics_of(one, other)],
        different=[row for row in rows if row.one != row.other],
        same=[row for row in rows if row.one == row.other],
        same_rows=data[0] == data[1] if all(data) else None,
    )


def metric_table(release: Release) -> list[tuple[str, dict[str, float | None]]]:
    """Return name -> candidate's, live model's and baseline's value of each metric, as it was at the release."""
    return [
        (metric.title, {who: number(release.facts.get(f"{METRIC_FACT_PREFIX}{who}.{metric.name}")) for who in _WHO})
        for metric in metrics_of(release.facts)
    ]


def _metrics_of(*releases: Release) -> Sequence[Metric]:
    """Return the metrics of all, each once, in the order of the first that has it."""
    found = {metric.name: metric for release in reversed(releases) for metric in metrics_of(release.facts)}
    order = dict.fromkeys(metric.name for release in releases for metric in metrics_of(release.facts))
    return [found[name] for name in order]


_WHO = ("candidate", "live", "baseline")


def plain_facts(release: Release) -> Mapping[str, str]:
    """Return the facts that are no metrics."""
    return {name: value for name, value in release.facts.items() if not name.startswith(METRIC_FACT_PREFIX)}


def _metric_row(metric: Metric, one: Release, other: Release) -> MetricRow:
    values = [number(release.facts.get(f"{METRIC_FACT_PREFIX}candidate.{metric.name}")) for release in (one, other)]
    row = MetricRow(name=metric.title, one=values[0], other=values[1])
    if row.difference is None:
        return row
    verdict = "same" if not row.difference else "better" if (row.difference > 0) == metric.higher_is_better else "worse"
    return MetricRow(name=metric.title, one=values[0], other=values[1], verdict=verdict)
