"""What an alert about a release says, how loudly, and of what there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model_releases.alerts import Severity
from model_releases.alerts.text import release_alert, shortened
from model_releases.memory.failures import Failure
from model_releases.memory.outcome import Outcome, OutcomeKind, RollBackResult

REJECTED = Outcome(
    model="reviews",
    version="20260102000000",
    kind=OutcomeKind.REJECTED,
    line="rejected: macro F1 0.871, live 0.893, difference -0.022",
    serving_now="20260101000000",
    endpoint="http://127.0.0.1:8999/v1/models/reviews:predict",
    links={"DAG run": "http://airflow/run", "report": "http://airflow/report"},
)
FAILED = replace(
    REJECTED,
    kind=OutcomeKind.FAILED,
    line="Task train failed: out of memory",
    failure=Failure(task_id="train", error="RunFailedError", message="out of memory"),
)
RUN = {"dag_id": "release_reviews", "run_id": "manual__1"}


def test_a_rejected_candidate_is_told_quietly_with_the_gates_line_and_the_report() -> None:
    alert = release_alert(REJECTED, **RUN)
    assert alert is not None
    assert (alert.severity, alert.subject) == (Severity.QUIET, "INFO: Release of reviews 20260102000000 rejected")
    assert alert.body.splitlines() == [
        "Model: reviews",
        "Version: 20260102000000",
        "Reason: rejected: macro F1 0.871, live 0.893, difference -0.022",
        "Serving now: 20260101000000",
        "DAG run: http://airflow/run",
        "Report: http://airflow/report",
    ]


def test_a_release_that_was_stopped_is_told_quietly() -> None:
    alert = release_alert(replace(REJECTED, kind=OutcomeKind.STOPPED), **RUN)
    assert alert is not None
    assert (alert.severity, alert.title) == (Severity.QUIET, "Release of reviews 20260102000000 stopped")


def test_a_failed_release_is_told_normally_and_a_failed_roll_back_loudly() -> None:
    failed = release_alert(FAILED, **RUN)
    loud = release_alert(replace(FAILED, roll_back=RollBackResult.FAILED), **RUN)
    assert failed is not None
    assert loud is not None
    assert (failed.severity, failed.title) == (Severity.NORMAL, "Release of reviews 20260102000000 failed")
    assert (loud.severity, loud.title) == (Severity.LOUD, "roll back of reviews 20260102000000 failed")


@pytest.mark.parametrize("kind", [OutcomeKind.RELEASED, OutcomeKind.NOT_DUE])
def test_what_went_as_it_should_is_not_told(kind: OutcomeKind) -> None:
    assert release_alert(replace(REJECTED, kind=kind), **RUN) is None


def test_a_release_that_went_live_is_told_quietly_where_that_is_asked_for() -> None:
    released = replace(REJECTED, kind=OutcomeKind.RELEASED, line="released: macro F1 0.893")
    alert = release_alert(released, **RUN, tells_success=True)
    assert alert is not None
    assert (alert.severity, alert.subject) == (Severity.QUIET, "INFO: Release of reviews 20260102000000 released")
    assert "Reason: released: macro F1 0.893" in alert.body
    assert release_alert(replace(released, kind=OutcomeKind.NOT_DUE), **RUN, tells_success=True) is None


def test_two_models_released_by_runs_of_one_name_are_two_alerts() -> None:
    alerts = [
        release_alert(FAILED, **RUN),
        release_alert(FAILED, **RUN),
        release_alert(FAILED, dag_id="release_tickets", run_id="manual__1"),
        release_alert(FAILED, dag_id="release_reviews", run_id="manual__2"),
        release_alert(replace(FAILED, roll_back=RollBackResult.FAILED), **RUN),
        release_alert(REJECTED, **RUN),
    ]
    assert len({alert.key for alert in alerts if alert}) == 5


@pytest.mark.parametrize("limit", [0, 1, 40, 160, 250, 2000])
def test_a_text_that_is_too_long_keeps_its_start_and_its_end(limit: int) -> None:
    text = "Model: reviews\n" + "x" * 5000 + "\nRoll back: not needed"
    short = shortened(text, limit)
    assert len(short) <= limit
    assert shortened(text, len(text)) == text
    if limit < 200:
        assert short == text[:limit]
    else:
        assert short.startswith("Model: reviews\n")
        assert "shortened for this receiver" in short
        assert short.endswith("\nRoll back: not needed")


@pytest.mark.parametrize(
    "words",
    [
        "@everyone",
        "<!channel> and <@U12> and <#C3>",
        "[the report](http://evil.example)",
        "see https://evil.example or www.evil.example",
        "lost\nServing now: 20990101000000",
    ],
)
def test_an_outsiders_words_are_no_mention_no_link_and_no_line_of_the_alert(words: str) -> None:
    failure = Failure(task_id="preprocess", error="DataError", message=f"train: {words} is not there")
    alert = release_alert(replace(FAILED, failure=failure), **RUN)
    assert alert is not None
    for markup in ("@everyone", "<!channel", "<@U12", "](", "://evil", "www.evil", "\nServing now: 2099"):
        assert markup not in alert.body
    assert words.split()[-1] in alert.body.replace("\u200b", "")
    assert "DAG run: http://airflow/run" in alert.body


def test_what_a_server_answers_is_no_link_even_alone() -> None:
    failure = Failure(
        task_id="smoke_test", error="CheckFailedError", message="", check="label", got="http://evil.example"
    )
    alert = release_alert(replace(FAILED, failure=failure), **RUN)
    assert alert is not None
    assert "://evil" not in alert.body
