"""The release card: what a person wants to know of a release, on one screen."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kubeflow_provider.open_inference import as_v2_request
from model_releases.memory.outcome import Outcome, OutcomeKind


def render_card(
    outcome: Outcome,
    *,
    figures: Sequence[Sequence[str]],
    example: bytes,
    seconds: Mapping[str, float],
) -> str:
    """Return the card as text.

    :param figures: what was measured of the candidate, the table's head first; empty when there is none.
    :param example: request to try the endpoint with; empty when there is none.
    :param seconds: step -> how long it took, in the order of the steps.
    """
    parts = [
        f"{outcome.title}: {outcome.kind.value.upper()}\n{outcome.line}",
        _table(figures) if figures else "",
        _table(_step_rows(seconds)) if seconds else "",
        "\n".join(f"{name:<14}{value}" for name, value in _facts(outcome, example) if value),
    ]
    rule = "─" * 78
    return "\n".join([rule, "\n\n".join(part for part in parts if part), rule])


def curl_line(endpoint: str, body: bytes) -> str:
    """Return a command that asks the endpoint for a prediction."""
    if endpoint.endswith("/infer"):
        body = as_v2_request(body)
    return f"curl -s {shlex.quote(endpoint)} -H 'Content-Type: application/json' -d {shlex.quote(body.decode())}"


def _step_rows(seconds: Mapping[str, float]) -> Iterator[Sequence[str]]:
    yield "step", "seconds"
    for step, duration in (*seconds.items(), ("all steps", sum(seconds.values()))):
        yield step, f"{duration:.1f}"


def _facts(outcome: Outcome, example: bytes) -> Iterator[tuple[str, str]]:
    if outcome.kind is OutcomeKind.FAILED:
        yield "roll back", outcome.roll_back.value
    yield "serving now", outcome.serving_now
    yield "endpoint", outcome.endpoint
    if outcome.kind is OutcomeKind.RELEASED and outcome.endpoint and example:
        yield "try it", curl_line(outcome.endpoint, example)
    yield from outcome.links.items()


def _table(rows: Iterable[Sequence[str]]) -> str:
    """Align the first column left and the others right."""
    table = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in table
    )
