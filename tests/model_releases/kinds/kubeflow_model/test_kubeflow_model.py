"""What a release asks the kind of a model of anybody's pipeline."""

from __future__ import annotations

from include.contracts.kinds.kubeflow_model import KubeflowModelCandidate
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
