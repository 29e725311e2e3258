"""What people read of captured requests that a candidate has answered again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.contracts.monitoring.shadow import ChangedShare, Shadow
from include.contracts.settings import GateConfig
from model_releases.cards.markdown import quoted, table

#: Of each table of the card; the report has all.
_MOST_ROWS = 5


def shadow_block(found: Shadow) -> str:
    """Return what the approval card says, as Markdown. No text of a request is known here."""
    title = "#### Requests of users, answered again"
    left_out = _left_out(found)
    if found.changed is None:
        return f"{title}\n\nNothing to compare: {quoted(found.why_not)}.{left_out}"
    parts = [
        title,
        f"Of {found.requests:,} captured requests that {found.live_version} has answered, from {found.first[:10]} to "
        f"{found.last[:10]}, {_words(found.changed)} get another label ({found.confidence:.0%} interval; "
        f"{found.changed_rows:,} of {found.rows:,} rows). Nobody knows which of both is right. The probability of the "
        f"label that was answered moves by {found.mean_probability_change:.4f} in the mean.{left_out}",
    ]
    if found.labels:
        rows = ((quoted(each.live), quoted(each.candidate), f"{each.rows:,}") for each in found.labels[:_MOST_ROWS])
        parts.append(table(["live", "candidate", "rows"], rows))
    if found.changed_rows and found.slices:
        slices = ((quoted(each.name), f"{each.requests:,}", _words(each.changed)) for each in found.slices[:_MOST_ROWS])
        parts.append(table(["most changed", "requests", "another label"], slices))
    return "\n\n".join(parts)


def changed_figures(found: Shadow | None, policy: GateConfig | None) -> Iterator[Sequence[str]]:
    """Yield the row of the release card.

    :param policy: what was asked of the candidate, where the gate was reached.
    """
    if found and found.changed:
        limit = policy.max_changed_share if policy else 1.0
        needed = f"<= {limit:.4f}" if limit < 1 else ""
        yield "changed answers to users' requests", f"{found.changed.share:.4f}", "-", "-", needed


def _words(changed: ChangedShare) -> str:
    return f"{changed.share:.4f} ({changed.low:.4f} to {changed.high:.4f})"


def _left_out(found: Shadow) -> str:
    """Say what was not answered again, and why."""
    counts = (
        (found.without_texts, "without a kept text (`capture.texts: keep` keeps them)"),
        (found.without_answers, "without a label"),
        (found.other_versions, "of other versions"),
        (found.broken_lines, "broken lines"),
    )
    named = [f"{count:,} {what}" for count, what in counts if count]
    cut = " There were more than are read at once." if found.is_cut else ""
    return (f" Left out: {', '.join(named)}." if named else "") + cut
