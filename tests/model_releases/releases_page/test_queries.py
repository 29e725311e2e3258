"""Every query of the page to Airflow's database finds its rows by an index: here on SQLite, elsewhere on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.utils.state import DagRunState

from benchmarks.query_plans import plan_of, recorded
from model_releases.releases_page.airflow_runs import AirflowRuns
from model_releases.releases_page.permissions import Permissions

pytestmark = pytest.mark.airflow

DAG = "release_planned"
DUE = datetime(2026, 1, 1, 3, tzinfo=UTC)


@pytest.fixture
def runs(airflow_database: None) -> Iterator[AirflowRuns]:
    """Return Airflow's part of the page, with a run in each state that it asks for."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    states = (DagRunState.SUCCESS, DagRunState.FAILED, DagRunState.RUNNING)
    with create_session() as session:
        for day, state in enumerate(states):
            due = DUE + timedelta(days=day)
            session.add(
                DagRun(DAG, f"manual__{day}", run_type="manual", state=state, run_after=due, logical_date=due, conf={})
            )
    yield AirflowRuns()
    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == DAG))


ASKED: dict[str, Callable[[AirflowRuns], Any]] = {
    "active": lambda runs: runs.active([DAG, "roll_back_planned"]),
    "known": lambda runs: runs.known(DAG, ["manual__0", "manual__1"]),
    "failed": lambda runs: runs.failed(DAG, after="20250101000000", before="20270101000000"),
    "failed at all": lambda runs: runs.failed(DAG, after=None, before=None),
    "is_paused": lambda runs: runs.is_paused(DAG),
    "missing_pools": lambda runs: runs.missing_pools(["default_pool"]),
    "permissions": lambda runs: Permissions("ada", [DAG])._teams,
}


@pytest.mark.parametrize("asked", ASKED)
def test_no_table_of_the_history_is_read_whole(runs: AirflowRuns, asked: str) -> None:
    with recorded() as queries:
        ASKED[asked](runs)
    assert queries
    assert [str(query) for query in queries if plan_of(query).whole] == []


def test_every_question_is_among_them(runs: AirflowRuns) -> None:
    questions = {name for name in vars(AirflowRuns) if not name.startswith("_")} - {"trigger"}
    assert questions <= ASKED.keys()
