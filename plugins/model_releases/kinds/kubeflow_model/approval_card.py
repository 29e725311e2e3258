"""What a person reads before saying yes or no to a model, as Markdown for Airflow's page."""

from __future__ import annotations

import json
from collections.abc import Iterator

from include.contracts.kinds.kubeflow_model import (
    KubeflowModelCandidate,
    MeasuredMetric,
    ModelFiles,
    PinnedModel,
    ServedBy,
)
from model_releases.cards.markdown import quoted, table

_ARROWS = {True: "↑", False: "↓"}


def approval_card(
    candidate: KubeflowModelCandidate, *, decision: str | None = None, report_url: str | None = None
) -> str:
    """Return the card.

    :param decision: the gate's line, where there was a gate.
    :param report_url: page of the report, where there is one.
    """
    archive, made_by = candidate.archive, candidate.made_by
    facts = (
        ("model", f"{_server(candidate.predictor)}, {_size(archive)}, asked by {quoted(candidate.predictor.protocol)}"),
        ("pipeline", quoted(made_by.pipeline)),
        ("run", quoted(made_by.run_id)),
        ("parameters", quoted(json.dumps(made_by.parameters, sort_keys=True))),
        ("left by the pipeline at", quoted(made_by.model_uri)),
        ("requests to be answered, refused", f"{len(candidate.requests)}, {len(candidate.refused)}"),
    )
    blocks = [
        f"**Gate:** {quoted(decision)}" if decision else "",
        f"**{'Files' if archive.lies_in_store else 'Address'}:** SHA-256 {quoted(archive.sha256)}. "
        f"{'These files go' if archive.lies_in_store else 'This goes'} live, or none.",
        f"[Report]({report_url})" if report_url else "",
        table(["metric", "candidate", "live", "difference"], (_metric(candidate, each) for each in candidate.metrics)),
        _compared(candidate),
        table(["what it is", ""], facts, align="---"),
    ]
    return "\n\n".join(block for block in blocks if block)


def _size(archive: ModelFiles | PinnedModel) -> str:
    if isinstance(archive, PinnedModel):
        return f"served from {quoted(archive.uri)}"
    return f"{len(archive.files)} file{'s' if len(archive.files) > 1 else ''}, {archive.size_bytes:,} bytes"


def _server(predictor: ServedBy) -> str:
    if predictor.container:
        return f"container {quoted(predictor.container.image)}"
    runtime = f" on {quoted(predictor.runtime)}" if predictor.runtime else ""
    return f"{quoted(str(predictor.format))}{runtime}"


def _compared(candidate: KubeflowModelCandidate) -> str:
    live, comparison = candidate.live_version, candidate.comparison
    if not live:
        return "Nothing is live to compare with."
    if comparison is None:
        reason = f" Not compared row by row: {quoted(candidate.not_comparable)}." if candidate.not_comparable else ""
        return f"Live is {live}; its figures are those of its own release.{reason}"
    return (
        f"Live is {live}. Differences with an interval ({100 * comparison.confidence:g} %) are of the same "
        f"{comparison.rows:,} rows; other figures of it are those of its own release."
    )


def _metric(candidate: KubeflowModelCandidate, metric: MeasuredMetric) -> Iterator[str]:
    bounds = candidate.comparison.bounds(metric.name) if candidate.comparison else None
    yield f"{quoted(metric.name)} {_ARROWS[metric.higher_is_better]}"
    yield f"{metric.value:.6g}"
    yield "none" if metric.live is None else f"{metric.live:.6g}"
    interval = f" ({bounds.low:+.4g} to {bounds.high:+.4g})" if bounds else ""
    yield "" if metric.live is None else f"{metric.value - metric.live:+.6g}{interval}"
