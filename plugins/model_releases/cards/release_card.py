"""The release card: what a person wants to know of a release, on one screen."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence

from include.contracts.candidate import Metrics
from include.contracts.metrics import MAIN_METRICS
from include.contracts.settings import GateConfig
from kubeflow_provider.open_inference import as_v2_request
from model_releases.memory.outcome import Outcome, OutcomeKind

#: A text that anybody may see, for the line to try the endpoint with.
SAMPLE_TEXT = "The food was great and the staff were friendly."


def render_card(
    outcome: Outcome,
    *,
    metrics: Metrics | None,
    policy: GateConfig | None,
    seconds: Mapping[str, float],
) -> str:
    """Return the card as text.

    :param metrics: of candidate, live model and baseline; ``None`` when there is no candidate.
    :param policy: what was asked of the candidate, where the gate was reached.
    :param seconds: step -> how long it took, in the order of the steps.
    """
    parts = [
        f"{outcome.title}: {outcome.kind.value.upper()}\n{outcome.line}",
        _table(_metric_rows(metrics, policy)) if metrics else "",
        _table(_step_rows(seconds)) if seconds else "",
        "\n".join(f"{name:<14}{value}" for name, value in _facts(outcome) if value),
    ]
    rule = "─" * 78
    return "\n".join([rule, "\n\n".join(part for part in parts if part), rule])


def curl_line(endpoint: str) -> str:
    """Return a command that asks the endpoint for a prediction."""
    body = json.dumps({"instances": [SAMPLE_TEXT]})
    if endpoint.endswith("/infer"):
        body = as_v2_request(body.encode()).decode()
    return f"curl -s {shlex.quote(endpoint)} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def _metric_rows(metrics: Metrics, policy: GateConfig | None) -> Iterator[Sequence[str]]:
    needed = _needed(metrics, policy) if policy else {}
    yield "on the same rows", "candidate", "live", "baseline", "needed"
    for name, title, _ in MAIN_METRICS:
        cells = [
            f"{getattr(scores, name):.4f}" if scores else "-"
            for scores in (metrics.candidate, metrics.live, metrics.baseline)
        ]
        yield title, *cells, needed.get(name, "")


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


def _step_rows(seconds: Mapping[str, float]) -> Iterator[Sequence[str]]:
    yield "step", "seconds"
    for step, duration in (*seconds.items(), ("all steps", sum(seconds.values()))):
        yield step, f"{duration:.1f}"


def _facts(outcome: Outcome) -> Iterator[tuple[str, str]]:
    if outcome.kind is OutcomeKind.FAILED:
        yield "roll back", outcome.roll_back.value
    yield "serving now", outcome.serving_now
    yield "endpoint", outcome.endpoint
    if outcome.kind is OutcomeKind.RELEASED and outcome.endpoint:
        yield "try it", curl_line(outcome.endpoint)
    yield from outcome.links.items()


def _table(rows: Iterator[Sequence[str]]) -> str:
    """Align the first column left and the others right."""
    table = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in table
    )
