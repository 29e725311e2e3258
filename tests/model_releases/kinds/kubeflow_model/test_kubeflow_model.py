"""What a release asks the kind of a model of anybody's pipeline."""

from __future__ import annotations

from typing import Any

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
from include.contracts.monitoring.captured import CapturedRequest
from model_releases.kinds import kind_of
from tests.own_models import BEFORE, SETTINGS, compared, document


def test_cards_show_figures_bounds_and_the_digest_that_a_yes_counts_for() -> None:
    made = document(metrics=compared((0.96, 0.94), (0.2, None)), live_version=BEFORE)
    candidate = KubeflowModelCandidate.read(made, where="candidate.json")
    kind = kind_of(candidate)
    policy = kind.policy({"metrics": SETTINGS["metrics"]})

    assert [list(row) for row in kind.figures(policy)] == [
        ["metric", "candidate", "live", "needed"],
        ["accuracy", "0.96", "0.94", ">= 0.92"],
        ["log_loss", "0.2", "-", "<= 0.5"],
    ]
    card = kind.approval_card(decision="accepted: `accuracy`", report_url=None, show_texts=True)
    assert candidate.archive.sha256 in card
    assert "| `accuracy` ↑ | 0.96 | 0.94 | +0.02 |" in card
    assert "| `log_loss` ↓ | 0.2 | none |  |" in card
    assert BEFORE in card
    assert kind.example() == b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
    assert kind.questions().body(kind.questions().rows) == kind.example()


def test_cards_show_the_interval_where_rows_were_compared_in_pairs() -> None:
    difference = {"name": "accuracy", "difference": 0.02, "low": -0.0123456, "high": 0.05}
    made = document(
        metrics=compared((0.96, 0.94), (0.2, None)),
        live_version=BEFORE,
        comparison={"version": BEFORE, "rows": 1500, "confidence": 0.95, "differences": [difference]},
    )
    kind = kind_of(KubeflowModelCandidate.read(made, where="candidate.json"))
    assert [list(row) for row in kind.figures(kind.policy({"metrics": SETTINGS["metrics"]}))] == [
        ["metric", "candidate", "live", "95 % interval", "needed"],
        ["accuracy", "0.96", "0.94", "-0.01235 to +0.05", ">= 0.92"],
        ["log_loss", "0.2", "-", "-", "<= 0.5"],
    ]
    card = kind.approval_card(decision=None, report_url=None, show_texts=False)
    assert "| +0.02 (-0.01235 to +0.05) |" in card
    assert "of the same 1,500 rows" in card
    made |= {"comparison": None, "not_comparable": "live has `kept` nothing"}
    kind = kind_of(KubeflowModelCandidate.read(made, where="candidate.json"))
    assert "Not compared row by row: " in kind.approval_card(decision=None, report_url=None, show_texts=False)


def captured(*inputs: Any, protocol: str = "v1") -> CapturedRequest:
    return CapturedRequest.model_validate(
        {
            "schema_version": 1,
            "id": "one",
            "at": "2026-01-01T00:00:00.000Z",
            "model": "iris",
            "version": None,
            "protocol": protocol,
            "status": 200,
            "latency_ms": None,
            "rows": [{"input": each, "features": {}} for each in inputs],
        }
    )


def test_captured_instances_are_asked_again_where_they_are_as_they_came() -> None:
    kind = kind_of(KubeflowModelCandidate.read(document(), where="candidate.json"))
    assert kind.asked_again(captured([5.1, 3], [6.2, 2.9])) == b'{"instances": [[5.1, 3], [6.2, 2.9]]}'
    assert kind.asked_again(captured({"age": 7, "city": "Ulm"})) == b'{"instances": [{"age": 7, "city": "Ulm"}]}'
    for request in (
        captured(),
        captured([1, 2], protocol="v2"),
        captured({"age": 7, "city": {"sha256": "a" * 64}}),
        captured([1, None]),
        captured("a text that may have stood in an object"),
    ):
        assert kind.asked_again(request) is None
