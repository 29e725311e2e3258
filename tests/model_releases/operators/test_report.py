"""How a release ends, for every way in which it can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, Context, TriggerRule
from airflow.sdk.exceptions import AirflowSkipException

from model_releases.exceptions import CheckFailedError, RollBackFailedError
from model_releases.memory import xcoms
from model_releases.memory.failures import remember_failure
from model_releases.operators.gate import GateOperator
from model_releases.operators.registry import RegisterOperator, ReleaseOperator
from model_releases.operators.report import ReportOperator

pytestmark = pytest.mark.airflow

MODEL, VERSION, BEFORE = "reviews", "20260102000000", "20260101000000"


class Step(BaseOperator):
    """Does something to the serving system, or fails."""

    def __init__(self, *, do: Callable[[], Any] = lambda: None, error: Exception | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.do = do
        self.error = error

    def execute(self, context: Context) -> None:
        """Do it."""
        if self.error:
            raise self.error
        self.do()


def release_dag(uri: str, serving: Any, *, fail: Mapping[str, Exception] | None = None, **policy: Any) -> DAG:
    this = {"model": MODEL, "version": VERSION, "candidate_uri": uri}
    fail = fail or {}

    def step(name: str, do: Callable[[], Any] = lambda: None, **settings: Any) -> Step:
        return Step(task_id=name, do=do, error=fail.get(name), **settings)

    with DAG(
        f"report_{'_'.join(fail) or 'good'}_{len(policy)}",
        schedule=None,
        default_args={"on_failure_callback": remember_failure},
    ) as dag:
        release = ReleaseOperator(task_id="release", **this)
        smoke_test, promote = step("smoke_test"), step("promote", lambda: serving.promote(MODEL, VERSION))
        roll_back = step("roll_back", trigger_rule=TriggerRule.ONE_FAILED)
        (
            step("train")
            >> GateOperator(task_id="gate", policy=policy, live_at_start=BEFORE, **this)
            >> RegisterOperator(task_id="register", **this)
            >> smoke_test
            >> promote
            >> release
        )
        [smoke_test, promote, release] >> roll_back
        [release, roll_back] >> ReportOperator(task_id="report", **this)
    return dag


@pytest.fixture
def live_before(serving: Any) -> Any:
    serving.promote(MODEL, BEFORE)
    return serving


def test_a_good_release_ends_with_its_card(
    tmp_path: Path,
    registry: Any,
    live_before: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
) -> None:
    run = run_dag(release_dag(write_candidate(0.93, live=0.92), live_before, min_macro_f1=0.9))
    assert run.state == "success"
    card = xcom(run, "report", "card")
    assert f"Release of reviews {VERSION}: RELEASED\naccepted: macro F1 0.930, live 0.920" in card
    assert "macro F1              0.9300  0.9200    0.5000  >= 0.9100" in card
    for name in ("train", "gate", "register", "smoke_test", "promote", "release", "all steps"):
        assert f"\n{name} " in card
    assert "\nroll_back " not in card
    assert f"serving now   {VERSION}" in card
    assert "curl -s http://127.0.0.1:8999/v1/models/reviews:predict" in card
    assert f"/dags/{run.dag_id}/runs/manual__" in card
    page = f"http://localhost:8080/releases/models/{MODEL}/versions/{VERSION}/report"
    assert f"report        {page}\nreport file   {(tmp_path / f'package-{VERSION}').as_uri()}/report.html" in card
    assert [xcom(run, task_id, "_link_ReportLink") for task_id in ("gate", "report")] == [page, page]
    assert xcom(run, "report", "outcome")["kind"] == "released"


def test_a_rejection_is_a_success_that_says_why(
    registry: Any,
    live_before: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
    told: list[Any],
) -> None:
    run = run_dag(release_dag(write_candidate(0.87, live=0.92), live_before))
    assert run.state == "success"
    (ended,), (duration,) = ([entry for entry in told if part in entry[0]] for part in (".ended", ".duration"))
    of = {"model": MODEL, "dag_id": run.dag_id}
    assert (ended[0], ended[2]) == ("model_release.ended_timestamp_seconds", {**of, "outcome": "rejected"})
    assert (duration[0], duration[2]) == ("model_release.duration_seconds", of)
    assert 0 < duration[1] < ended[1] - run.start_date.timestamp() + 1
    card = xcom(run, "report", "card")
    assert "REJECTED\nrejected: macro F1 0.870, live 0.920, difference -0.050, margin 0.01" in card
    assert f"serving now   {BEFORE}" in card
    assert "\nsmoke_test " not in card


def test_a_failed_check_fails_the_run_and_says_what_serves(
    registry: Any,
    live_before: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
) -> None:
    error = CheckFailedError("golden examples", expected="row 3: 5 stars", got="row 3: 1 star")
    run = run_dag(release_dag(write_candidate(), live_before, fail={"smoke_test": error}))
    assert run.state == "failed"
    failure = xcom(run, "report", xcoms.FAILURE)
    assert failure["error"] == "ReleaseFailedError"
    assert failure["message"] == (
        "Task smoke_test failed: golden examples: expected row 3: 5 stars, got row 3: 1 star. "
        f"Serving now: {BEFORE}. Roll back worked: what was live before the release is live."
    )
    assert "FAILED\nTask smoke_test failed" in xcom(run, "report", "card")
    assert "roll back     worked" in xcom(run, "report", "card")


def test_a_failed_roll_back_is_reported_with_what_made_it_necessary(
    registry: Any,
    live_before: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
    told: list[Any],
) -> None:
    fail = {
        "promote": CheckFailedError("latency", expected="200 ms", got="900 ms"),
        "roll_back": RollBackFailedError("nothing answers"),
    }
    run = run_dag(release_dag(write_candidate(), live_before, fail=fail))
    assert run.state == "failed"
    assert "Roll back FAILED: somebody has to look now." in xcom(run, "report", xcoms.FAILURE)["message"]
    outcome = xcom(run, "report", "outcome")
    assert (outcome["failure"]["task_id"], outcome["roll_back"]) == ("promote", "FAILED")
    assert outcome["roll_back_failure"]["message"] == "nothing answers"
    assert [tags["outcome"] for _, _, tags in told if "outcome" in tags] == ["roll_back_failed"]


def test_a_report_comes_also_when_nothing_can_be_asked(
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
) -> None:
    # Neither connection exists, and training never wrote a candidate.
    run = run_dag(
        release_dag(
            "file:///nowhere/candidate.json", None, fail={"train": CheckFailedError("a", expected="b", got="c")}
        )
    )
    assert run.state == "failed"
    card = xcom(run, "report", "card")
    assert "Task train failed: a: expected b, got c" in card
    assert "serving now   not known: the serving system could not be asked" in card


def test_what_was_skipped_by_hand_is_not_called_released(
    registry: Any,
    live_before: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    xcom: Callable[..., Any],
) -> None:
    run = run_dag(release_dag(write_candidate(), live_before, fail={"train": AirflowSkipException()}))
    assert run.state == "success"
    assert ": STOPPED" in xcom(run, "report", "card")
    assert f"serving now   {BEFORE}" in xcom(run, "report", "card")
