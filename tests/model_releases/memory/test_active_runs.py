"""What one DAG run sees of the others."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, Context

from model_releases import ids
from model_releases.memory import active_runs
from model_releases.memory.active_runs import deployment_under_way, is_over, live_at_start, roll_back_under_way

DONE = dict.fromkeys((*ids.DEPLOYMENT, ids.ROLL_BACK), "success") | {"roll_back": "skipped"}


#: The DAG that is looked at, which releases and rolls back.
THINGS = ids.roll_back_dag("things")

#: Its runs.
KNOWN: list[str] = []


class Task(BaseOperator):
    """Finds a version live, as the first task of a release does."""

    def execute(self, context: Context) -> dict[str, str]:
        """Find it."""
        return {"live_version": "20260101000000"}


class Look(BaseOperator):
    """Looks at the runs of another DAG."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Look."""
        found = active_runs.active_runs(context, THINGS)
        return {
            "runs": {run.run_id: dict(run.conf or {}) for run in found},
            "roll_back": roll_back_under_way(context, "things"),
            "deployment": deployment_under_way(context, THINGS),
            "live": [live_at_start(THINGS, run.run_id) for run in found],
            "of_another_model": roll_back_under_way(context, "other"),
            "over": [run_id for run_id in [*KNOWN, "unknown", None] if is_over(context, THINGS, run_id)],
        }


@pytest.mark.airflow
def test_a_task_sees_the_queued_and_running_runs_of_another_dag(
    run_dag: Callable[..., Any], xcom: Callable[..., Any]
) -> None:
    from airflow.models import DagRun
    from airflow.utils.session import create_session

    with DAG(THINGS, schedule=None, params={"model": ""}) as things:
        for task_id in ("check", *(*ids.DEPLOYMENT, ids.ROLL_BACK)):
            Task(task_id=task_id)
    over, under_way = run_dag(things, model="reviews"), run_dag(things, model="reviews")
    KNOWN[:] = [over.run_id, under_way.run_id]
    with DAG("look", schedule=None) as look:
        Look(task_id="look")

    seen = xcom(run_dag(look), "look")
    assert (seen["runs"], seen["roll_back"], seen["deployment"]) == ({}, None, None)

    with create_session() as session:
        row = session.query(DagRun).filter(DagRun.run_id == under_way.run_id).one()
        row.state = "queued"
        row.get_task_instance("verify", session=session).state = None
    assert xcom(run_dag(look), "look") == {
        "runs": {under_way.run_id: {"model": "reviews"}},
        "roll_back": f"{THINGS}, {under_way.run_id}",
        "deployment": f"{THINGS}, {under_way.run_id}",
        "live": ["20260101000000"],
        "of_another_model": None,
        "over": [over.run_id],
    }
    assert over.run_id != under_way.run_id


@pytest.mark.parametrize(
    ("states", "is_under_way"),
    [
        ({}, False),
        (dict.fromkeys((*ids.DEPLOYMENT, ids.ROLL_BACK)), False),
        (dict.fromkeys((*ids.DEPLOYMENT, ids.ROLL_BACK), "skipped"), False),
        (dict.fromkeys((*ids.DEPLOYMENT, ids.ROLL_BACK), "upstream_failed"), False),
        ({"deploy_candidate": "queued"}, True),
        ({"deploy_candidate": "up_for_retry"}, True),
        (DONE | {"smoke_test": "deferred"}, True),
        (DONE | {"smoke_test": None}, True),
        (
            {"deploy_candidate": "failed", **dict.fromkeys((*ids.DEPLOYMENT, ids.ROLL_BACK)[1:-1], "upstream_failed")},
            True,
        ),
        (DONE | {"smoke_test": "failed", "roll_back": "running"}, True),
        (DONE, False),
        (DONE | {"verify": "failed", "release": "upstream_failed", "roll_back": "success"}, False),
    ],
    ids=[
        "not begun",
        "training, or waiting for an approval",
        "rejected",
        "training failed",
        "about to deploy",
        "about to deploy once more",
        "being tested",
        "between two tasks",
        "failed, and about to roll back",
        "rolling back",
        "released, reporting",
        "rolled back, reporting",
    ],
)
def test_a_release_is_only_under_way_while_it_changes_what_is_served(
    monkeypatch: pytest.MonkeyPatch, states: dict[str, str | None], is_under_way: bool
) -> None:
    run = SimpleNamespace(run_id="manual__1")
    ti = SimpleNamespace(get_task_states=lambda dag_id, task_ids, run_ids: {"manual__1": states} if states else {})
    monkeypatch.setattr(active_runs, "active_runs", lambda context, dag_id: [run])
    assert deployment_under_way({"ti": ti}, "release_reviews") == (
        "release_reviews, manual__1" if is_under_way else None
    )
