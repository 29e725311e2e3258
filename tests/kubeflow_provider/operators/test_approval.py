"""A person's yes or no, in a real DAG run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.definitions import dag as dag_module
from sqlalchemy import select

from kubeflow_provider.candidate import Candidate
from kubeflow_provider.operators.approval import ReleaseApprovalOperator, metrics_table
from kubeflow_provider.states import ReleaseState

MODEL, VERSION = "reviews", "20260102000000"


def dag_with(uri: str, dag_id: str) -> DAG:
    with DAG(dag_id, schedule=None, params={"require_approval": False}) as dag:
        approve = ReleaseApprovalOperator(
            task_id="approve",
            model=MODEL,
            version=VERSION,
            candidate_uri=uri,
            required="{{ params.require_approval }}",
            response_timeout=timedelta(milliseconds=1),  # only a scheduler looks at it
        )
        approve >> EmptyOperator(task_id="register") >> EmptyOperator(task_id="deploy")
    return dag


def states(run: Any) -> dict[str, str]:
    return {ti.task_id: ti.state for ti in run.get_task_instances()}


@pytest.fixture
def answer_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Return ``answer(option)``, which lets a person press that button; it returns the list that gets the question.

    An empty option means that nobody answers, and that the scheduler finds the time to be over.

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

    def answer(option: str) -> list[str]:
        asked: list[str] = []

        def press(message: str, *_: Any) -> None:
            if not message.startswith("Waiting for Human-in-the-loop input"):
                return
            assert not asked, "the run goes on waiting after the answer"
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


@pytest.mark.airflow
def test_a_release_that_asks_nobody_goes_on(
    registry: Any, write_candidate: Callable[..., str], run_dag: Callable[..., Any]
) -> None:
    run = run_dag(dag_with(write_candidate(0.93), "approval_not_asked"))
    assert states(run) == {"approve": "success", "register": "success", "deploy": "success"}


@pytest.mark.airflow
@pytest.mark.timeout(120)  # a run that is not answered waits for ever
@pytest.mark.parametrize(
    ("option", "after", "reason"),
    [
        ("Approve", "success", ""),
        ("Reject", "skipped", "not approved by ada"),
        ("", "skipped", "not approved: nobody answered in time"),
    ],
)
def test_the_answer_decides_and_a_no_is_recorded_with_its_author(
    registry: Any,
    write_candidate: Callable[..., str],
    run_dag: Callable[..., Any],
    answer_with: Callable[[str], list[str]],
    option: str,
    after: str,
    reason: str,
) -> None:
    asked = answer_with(option)
    run = run_dag(
        dag_with(write_candidate(0.93, live=0.9), f"approval_{option.lower() or 'timeout'}"), require_approval=True
    )
    assert "| macro f1 | 0.9300 | 0.9000 | 0.5000 |" in asked[0]
    assert run.state == "success"
    assert states(run) == {"approve": "success", "register": after, "deploy": after}
    release = registry.get_release(MODEL, VERSION)
    if not reason:
        assert release is None
    else:
        assert release.state is ReleaseState.REJECTED
        assert release.reason == reason


def test_the_card_shows_a_first_release_without_a_live_model(write_candidate: Callable[..., str]) -> None:
    text = metrics_table(Candidate.read(write_candidate(0.93)))
    assert "| macro f1 | 0.9300 | none | 0.5000 |" in text
