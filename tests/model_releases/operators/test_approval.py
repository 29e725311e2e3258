"""A person's yes or no, in a real DAG run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.definitions import dag as dag_module
from sqlalchemy import select

from include.contracts.registry_tags import ReleaseState
from model_releases.memory.candidate import read_candidate
from model_releases.memory.release_record import make_record
from model_releases.operators import approval
from model_releases.operators.approval import ReleaseApprovalOperator
from model_releases.operators.gate import GateOperator
from model_releases.operators.registry import RegisterOperator
from tests.candidates import comparison

MODEL, VERSION, BEFORE = "reviews", "20260102000000", "20260101000000"
DIGEST = sha256(b"123456789").hexdigest()


def dag_with(uri: str, dag_id: str, **settings: Any) -> DAG:
    this = {
        "model": MODEL,
        "version": VERSION,
        "candidate_uri": uri,
        "candidate_sha256": "{{ ti.xcom_pull('gate', key='judged')['candidate_sha256'] }}",
    }
    with DAG(dag_id, schedule=None, params={"require_approval": False}) as dag:
        gate = GateOperator(task_id="gate", policy={}, **this | {"candidate_sha256": None})
        approve = ReleaseApprovalOperator(
            task_id="approve",
            **this,
            required="{{ params.require_approval }}",
            response_timeout=timedelta(milliseconds=1),  # only a scheduler looks at it
            **settings,
        )
        gate >> approve >> RegisterOperator(task_id="register", **this) >> EmptyOperator(task_id="deploy")
    return dag


def states(run: Any) -> dict[str, str]:
    return {ti.task_id: ti.state for ti in run.get_task_instances()}


@pytest.fixture
def answer_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return ``answer(option)``, which lets a person press that button; it returns the list that gets the question.

    ``before`` is called while everybody waits. An empty option means that nobody answers, and that the scheduler finds
    the time to be over.

    ``dag.test`` says in its log when it has nothing left to do but wait for a person. The answer is given at that
    moment, when the task is parked for certain, and through the function behind Airflow's own route.
    """
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session

    def answer(option: str, before: Callable[[], Any] = lambda: None) -> list[str]:
        asked: list[str] = []

        def press(message: str, *_: Any) -> None:
            if not message.startswith("Waiting for Human-in-the-loop input"):
                return
            assert not asked, "the run goes on waiting after the answer"
            before()
            with create_session(scoped=False) as session:
                (detail,) = session.scalars(select(HITLDetail).where(HITLDetail.responded_at.is_(None))).unique()
                asked.append(detail.body)
                if not option:
                    SchedulerJobRunner(job=Job()).check_awaiting_input_timeouts(session=session)
                    return
                update_hitl_detail(
                    dag_id=detail.task_instance.dag_id,
                    dag_run_id=detail.task_instance.run_id,
                    task_id=detail.task_instance.task_id,
                    update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[option]),
                    user=SimpleAuthManagerUser(username="ada", role="admin"),
                    session=session,
                )

        monkeypatch.setattr(dag_module.log, "info", press)
        return asked

    return answer


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str]]:
    """Return the list that gets alerts and connections instead of anybody who is called."""
    sent: list[tuple[Any, str]] = []
    monkeypatch.setattr(approval, "send_alert", lambda alert, conn_id: sent.append((alert, conn_id)))
    return sent


@pytest.mark.airflow
def test_a_release_that_asks_nobody_goes_on_and_its_record_says_so(
    registry: Any, serving: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any], alerts: list[Any]
) -> None:
    run = run_dag(dag_with(write_candidate(0.93), "approval_not_asked"))
    assert set(states(run).values()) == {"success"}
    assert registry.get_release(MODEL, VERSION).facts["approval"] == "not asked"
    assert alerts == []


@pytest.mark.airflow
@pytest.mark.timeout(120)  # a run that is not answered waits for ever
@pytest.mark.parametrize(
    ("option", "after", "state", "reason", "facts"),
    [
        (
            "Approve",
            "success",
            ReleaseState.CANDIDATE,
            "registered",
            {"approval": "yes", "approved_by": "ada", "approved_sha256": DIGEST},
        ),
        ("Reject", "skipped", ReleaseState.REJECTED, "not approved by ada", {"approval": "no", "approved_by": "ada"}),
        ("", "skipped", ReleaseState.REJECTED, "not approved: nobody answered in time", {"approval": "no"}),
    ],
)
def test_the_answer_decides_and_is_recorded_with_its_author_and_time(
    registry: Any,
    serving: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    answer_with: Callable[[str], list[str]],
    alerts: list[tuple[Any, str]],
    option: str,
    after: str,
    state: ReleaseState,
    reason: str,
    facts: dict[str, str],
) -> None:
    serving.promote(MODEL, BEFORE)
    asked = answer_with(option)
    uri = write_candidate(0.93, live=0.9)
    run = run_dag(
        dag_with(uri, f"approval_{option.lower() or 'timeout'}", alert_conn_id="people"), require_approval=True
    )
    assert "**Gate:** `accepted: macro F1 0.93" in asked[0]
    assert "| macro F1 ↑ | 0.9300 | 0.9000 | 0.5000 | +0.0300 |" in asked[0]
    assert run.state == "success"
    assert states(run) == {"gate": "success", "approve": "success", "register": after, "deploy": after}
    release = registry.get_release(MODEL, VERSION)
    assert (release.state, release.reason) == (state, reason)
    told = {name: value for name, value in release.facts.items() if name.startswith("appro")}
    assert told.pop("approved_at") >= run.start_date.isoformat(timespec="seconds")
    assert told == facts

    (alert, conn_id) = alerts[0]
    assert (len(alerts), conn_id, alert.subject) == (1, "people", f"INFO: {MODEL} {VERSION} waits for an approval")
    assert f"/dags/{run.dag_id}/runs/manual__" in alert.body
    assert "/tasks/approve/required_actions" in alert.body
    assert "a private text" not in alert.body + asked[0]


@pytest.mark.airflow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("changed", ["candidate", "archive", "report"])
def test_what_was_changed_while_the_question_was_open_does_not_go_on(
    registry: Any,
    serving: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    answer_with: Callable[..., list[str]],
    alerts: list[Any],
    tmp_path: Path,
    changed: str,
) -> None:
    uri = write_candidate(0.93)
    package = tmp_path / f"package-{VERSION}"
    files = {
        "candidate": tmp_path / f"candidate-{VERSION}.json",
        "archive": package / "m.mar",
        "report": package / "report.html",
    }

    def change() -> None:
        with files[changed].open("a") as file:
            file.write("\n")

    asked = answer_with("Approve", before=change)
    run = run_dag(dag_with(uri, f"approval_of_a_changed_{changed}"), require_approval=True)
    assert f"SHA-256 `{DIGEST}`" in asked[0]
    after = dict.fromkeys(("register", "deploy"), "upstream_failed")
    assert states(run) == {"gate": "success", "approve": "failed", **after}
    assert registry.get_release(MODEL, VERSION) is None


@pytest.mark.airflow
@pytest.mark.timeout(120)
def test_the_question_shows_where_both_disagree_and_leads_to_the_report(
    registry: Any,
    serving: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    answer_with: Callable[[str], list[str]],
    xcom: Callable[..., Any],
    tmp_path: Path,
) -> None:
    serving.promote(MODEL, BEFORE)
    uri = write_candidate(0.93, live=0.9)
    file = tmp_path / f"candidate-{VERSION}.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    change = {"difference": 0.03, "low": 0.01, "high": 0.05}
    document["comparison"] = comparison(
        macro_f1=change,
        accuracy=change,
        disagreements=[
            {
                "text": "{{ conn.registry_default.password }} [press](http://evil)",
                "label": "bad",
                "candidate": "bad",
                "live": "good",
                "candidate_probability": 0.9,
                "live_probability": 0.6,
            }
        ],
    )
    file.write_text(json.dumps(document), encoding="utf-8")
    asked = answer_with("Approve")
    run = run_dag(dag_with(uri, "approval_disagreements"), require_approval=True)
    page = xcom(run, "approve", "report_url")
    assert page.endswith(f"/releases/models/{MODEL}/versions/{VERSION}/report")
    assert f"[Report with pictures]({page})" in asked[0]
    assert (
        "| `{{ conn.registry_default.password }} [press](http://evil)` | `bad` | `bad` 0.90 | `good` 0.60 |" in asked[0]
    )
    assert [xcom(run, task_id, "_link_ReportLink") for task_id in ("gate", "approve")] == [page, page]
    assert registry.get_release(MODEL, VERSION).facts["report_uri"] == document["report_uri"]


def test_a_no_to_a_release_that_was_live_is_kept_beside_what_became_of_it(
    registry: Any, write_candidate: Callable[..., str]
) -> None:
    uri = write_candidate(0.93)
    registry.register(make_record(read_candidate(uri), state=ReleaseState.LIVE), metrics={})
    task = ReleaseApprovalOperator(task_id="approve", model=MODEL, version=VERSION, candidate_uri=uri)
    answer = {"approval": "no", "approved_by": "ada", "approved_at": "2026-01-05T00:00:00+00:00"}
    task._record_no({}, answer)
    release = registry.get_release(MODEL, VERSION)
    assert release.state is ReleaseState.LIVE
    assert release.facts["approved_by"] == "ada"


def test_only_the_users_who_are_named_may_answer(write_candidate: Callable[..., str]) -> None:
    def task(approvers: list[str]) -> ReleaseApprovalOperator:
        return ReleaseApprovalOperator(
            task_id="approve", model=MODEL, version=VERSION, candidate_uri="file:///any", approvers=approvers
        )

    assert task(["ada", "bob"]).assigned_users == [{"id": "ada", "name": "ada"}, {"id": "bob", "name": "bob"}]
    assert task([]).assigned_users is None
