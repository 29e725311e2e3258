"""What a person reads before saying yes or no to a candidate, as Markdown for Airflow's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from include.contracts.data.changes import DataChanges
from include.contracts.kinds.text_classifier import (
    Comparison,
    Difference,
    Disagreement,
    Metrics,
    SliceScores,
    TextClassifierCandidate,
    WorstSlice,
)
from include.contracts.metrics import MAIN_METRICS, Metric
from model_releases.cards.markdown import quoted, table
from model_releases.kinds.text_classifier.shadow import shadow_block

_ARROWS = {True: "↑", False: "↓"}


def approval_card(
    candidate: TextClassifierCandidate,
    *,
    decision: str | None = None,
    report_url: str | None = None,
    show_texts: bool = True,
) -> str:
    """Return the card.

    :param decision: the gate's line, where there was a gate.
    :param report_url: page of the report, where there is one.
    :param show_texts: whether to show the rows on which candidate and live model disagree. They are users' texts, and
        Airflow keeps the card in its database.
    """
    comparison = candidate.comparison
    blocks = [
        f"**Gate:** {quoted(decision)}" if decision else "",
        f"**Archive:** SHA-256 {quoted(candidate.archive.sha256)}. This archive goes live, or none.",
        f"[Report with pictures]({report_url})" if report_url else "",
        _metrics(candidate.metrics, comparison),
        _summary(comparison) if comparison else "There is no live model to compare with.",
        _costs(candidate, comparison),
        _slices(candidate.metrics, comparison),
        _worst(candidate.worst_slice, show_texts=show_texts),
        _labels(candidate.metrics, comparison),
        _data(candidate.data_changes),
        shadow_block(candidate.shadow) if candidate.shadow else "",
        _disagreements(comparison.disagreements, show_texts=show_texts) if comparison else "",
    ]
    return "\n\n".join(block for block in blocks if block)


def _metrics(metrics: Metrics, comparison: Comparison | None) -> str:
    heads = ["on the same evaluation rows", "candidate", "live", "baseline", "difference"]
    if comparison:
        heads.append(f"{comparison.confidence:.0%} interval")
    return table(heads, (_metric(metric, metrics, comparison) for metric in MAIN_METRICS))


def _metric(metric: Metric, metrics: Metrics, comparison: Comparison | None) -> Iterator[str]:
    found = getattr(metrics.candidate, metric.name)
    live = getattr(metrics.live, metric.name) if metrics.live else None
    yield f"{metric.title} {_ARROWS[metric.higher_is_better]}"
    yield f"{found:.4f}"
    yield "none" if live is None else f"{live:.4f}"
    yield f"{getattr(metrics.baseline, metric.name):.4f}"
    yield "" if live is None else f"{found - live:+.4f}"
    if comparison:
        change = getattr(comparison, metric.name, None)
        yield _interval(change) if change else ""


def _costs(candidate: TextClassifierCandidate, comparison: Comparison | None) -> str:
    serving = candidate.serving
    rows = [("served, median", f"{serving.p50_ms:.1f} ms", ""), ("served, p95", f"{serving.p95_ms:.1f} ms", "")]
    if comparison:
        latency, size = comparison.latency_ms, comparison.size_bytes
        rows += [
            ("one text in one process, median", f"{latency.candidate:.1f} ms", f"{latency.live:.1f} ms"),
            ("archive", _megabytes(size.candidate), _megabytes(size.live)),
        ]
    else:
        rows.append(("archive", _megabytes(candidate.archive.size_bytes), ""))
    if serving.precision:
        rows.append(("runtime and precision", serving.precision.chosen, ""))
    return table(["latency and size", "candidate", "live"], rows)


def _summary(comparison: Comparison) -> str:
    mcnemar = comparison.mcnemar
    return (
        f"Live is {comparison.version}, asked the same {comparison.rows} rows. Rows that only one of them has "
        f"right: candidate {mcnemar.candidate_only}, live {mcnemar.live_only} "
        f"(McNemar, p = {mcnemar.p_value:.3g})."
    )


def _slices(metrics: Metrics, comparison: Comparison | None) -> str:
    parts = [(each.name, each.rows, _with_bounds(each)) for each in metrics.candidate.slices]
    live = {each.name: each.macro_f1 for each in (metrics.live.slices if metrics.live else ())}
    changes = {each.name: each.macro_f1 for each in (comparison.slices if comparison else ())}
    return _parts("By slice", "macro F1", parts, live, changes)


def _with_bounds(part: SliceScores) -> str:
    bounds = part.macro_f1_interval
    return f"{part.macro_f1:.4f} ({bounds.low:.4f} to {bounds.high:.4f})" if bounds else f"{part.macro_f1:.4f}"


def _worst(found: WorstSlice | None, *, show_texts: bool) -> str:
    """Return the worst slice that nobody has named; a word in it is a user's, as texts are."""
    if found is None:
        return ""
    what, change = found.description, found.difference
    if found.word and show_texts:
        what += f", {quoted(found.word)}"
    elif found.word:
        what += " (the report says which)"
    verdict = "worse than elsewhere" if found.stands_out else "not clearly worse than elsewhere"
    return (
        f"**Worst of {found.tried} slices that nobody has named:** texts {what}, {verdict}. Accuracy "
        f"{found.accuracy:.4f} on {found.measured_rows} rows that took no part in the choice, {change.difference:+.4f} "
        f"against all others ({found.confidence:.0%} interval {_interval(change)})."
    )


def _data(found: DataChanges | None) -> str:
    """Return the data set beside that of the live version."""
    if found is None:
        return ""
    rows = [
        (each.name.replace("_", " "), f"{each.distance:.3f}", quoted(each.live), quoted(each.candidate))
        for each in found.changes
    ]
    title = f"#### The data, against those of {found.version}"
    missing = f"Not compared: {found.not_compared}." if found.not_compared else ""
    compared = table(["0: as it was, 1: nothing is", "distance", "before", "now"], rows, align="---") if rows else ""
    return "\n\n".join(part for part in (title, compared, missing) if part)


def _labels(metrics: Metrics, comparison: Comparison | None) -> str:
    parts = [(label, found.support, f"{found.f1:.4f}") for label, found in metrics.candidate.per_class.items()]
    live = {label: found.f1 for label, found in (metrics.live.per_class if metrics.live else {}).items()}
    return _parts("By label", "F1", parts, live, comparison.per_class if comparison else {})


def _parts(
    title: str,
    metric: str,
    parts: Sequence[tuple[str, int, str]],
    live: Mapping[str, float],
    changes: Mapping[str, Difference],
) -> str:
    """Return the table of a metric on parts of the rows, empty without parts.

    :param parts: name, rows and the candidate's value of each, in words.
    :param live: name -> the live model's value.
    :param changes: name -> difference with its interval.
    """
    if not parts:
        return ""
    rows = (
        (
            quoted(name),
            str(rows),
            found,
            f"{live[name]:.4f}" if name in live else "none",
            f"{changes[name].difference:+.4f}" if name in changes else "",
            _interval(changes[name]) if name in changes else "",
        )
        for name, rows, found in parts
    )
    return f"#### {title}\n\n{table([metric, 'rows', 'candidate', 'live', 'difference', 'interval'], rows)}"


def _disagreements(rows: Sequence[Disagreement], *, show_texts: bool) -> str:
    title = "#### Rows on which candidate and live model disagree"
    if not rows:
        return f"{title}\n\nThere are none."
    if not show_texts:
        return f"{title}\n\nThe report has {len(rows)} of them; this page shows no texts."
    cells = (
        (
            quoted(row.text),
            quoted(row.label),
            f"{quoted(row.candidate)} {row.candidate_probability:.2f}",
            f"{quoted(row.live)} {row.live_probability:.2f}",
        )
        for row in rows
    )
    return f"{title}\n\n{table(['text', 'true label', 'candidate', 'live'], cells, align='---')}"


def _interval(found: Difference) -> str:
    return f"{found.low:+.4f} to {found.high:+.4f}"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
