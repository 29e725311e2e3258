"""What a running Airflow does with the answer of a person who was asked for an approval, and with none."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import candidates
from tests.airflow_server import AirflowServer, Serve
from tests.alert_listener import Listener
from tests.end_to_end.running_airflow.conftest import Registry
from tests.waiting import wait_for

pytestmark = pytest.mark.airflow

DAGS = """
    from datetime import timedelta

    from airflow.sdk import DAG

    from model_releases.operators.approval import ReleaseApprovalOperator
    from model_releases.operators.registry import RegisterOperator

    for dag_id, timeout in (("asks", timedelta(hours=1)), ("asks_in_passing", timedelta(milliseconds=1))):
        with DAG(dag_id, schedule=None, params={"version": "", "candidate_uri": ""}):
            this = {
                "model": "reviews",
                "version": "{{ params.version }}",
                "candidate_uri": "{{ params.candidate_uri }}",
            }
            # The retries are for answers that come before the scheduler has seen the asking process end: it fails the
            # task for that.
            approve = ReleaseApprovalOperator(
                task_id="approve",
                response_timeout=timeout,
                alert_conn_id="approval_alerts",
                registry_conn_id="approval_registry",
                retries=5,
                retry_delay=timedelta(seconds=1),
                **this,
            )
            approve >> RegisterOperator(task_id="register", registry_conn_id="approval_registry", **this)
"""


@pytest.fixture(scope="module")
def airflow(serve: Serve, alerts: tuple[type[Listener], str], registry: Registry) -> AirflowServer:
    receiver = {"conn_type": "apprise", "extra": {"config": {"path": alerts[1]}}}
    connections = {"approval_alerts": receiver, "approval_registry": registry.connection}
    return serve({"approvals.py": DAGS}, connections, ("asks", "asks_in_passing"))


def candidate_of(version: str, folder: Path) -> dict[str, str]:
    """Write a candidate and return the parameters of the run that asks about it."""
    document = candidates.document(
        candidates.scores(0.9),
        baseline=candidates.scores(0.8),
        version=version,
        archive={"uri": f"s3://models/{version}", "file": "m.mar", "sha256": "a" * 64, "size_bytes": 4_000_000},
    )
    file = folder / f"{version}.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return {"version": version, "candidate_uri": file.as_uri()}


APPROVED = {"approval": "yes", "approved_by": "Anonymous", "approved_sha256": "a" * 64}


@pytest.mark.parametrize(
    ("dag_id", "version", "answer", "after", "state", "facts"),
    [
        ("asks", "20260103000000", "Approve", "success", "candidate", APPROVED),
        pytest.param(
            *("asks", "20260104000000", "Reject", "skipped", "rejected"),
            {"approval": "no", "approved_by": "Anonymous"},
            marks=pytest.mark.long,
        ),
        pytest.param(
            *("asks_in_passing", "20260105000000", None, "skipped", "rejected", {"approval": "no"}),
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_person_s_answer_decides_and_none_in_time_is_a_no(
    airflow: AirflowServer,
    alerts: tuple[type[Listener], str],
    registry: Registry,
    tmp_path: Path,
    dag_id: str,
    version: str,
    answer: str | None,
    after: str,
    state: str,
    facts: dict[str, str],
) -> None:
    run = airflow.trigger(dag_id, candidate_of(version, tmp_path))
    if answer:
        # Airflow fails a task that is answered before its scheduler has seen that the process which asked has ended.
        seen = f"state success for task instance TaskInstanceKey(dag_id='{dag_id}', task_id='approve', run_id='{run}'"
        wait_for(lambda: seen in airflow.output(), "the question is asked")
        question = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
        card = airflow.call("GET", question)["body"]
        assert "| macro F1 ↑ | 0.9000 | none | 0.8000 |" in card
        assert f"/releases/models/reviews/versions/{version}/report)" in card
        airflow.call("PATCH", question, {"chosen_options": [answer]})
    assert airflow.wait(dag_id, run) == "success"
    assert airflow.task(dag_id, run, "register")["state"] == after

    release = registry.service.get_release("reviews", version)
    assert release is not None
    assert release.state == state
    told = {name: value for name, value in release.facts.items() if name.startswith("appro")}
    assert datetime.fromisoformat(told.pop("approved_at")).tzinfo == UTC
    assert told == facts
    (alert,) = [alert for alert in alerts[0].alerts if version in alert["title"]]
    assert alert["title"] == f"INFO: reviews {version} waits for an approval"
    assert f"/dags/{dag_id}/runs/{run}/tasks/approve/required_actions" in alert["message"]
