"""Writes what a scheduler would have left into the database of the ``AIRFLOW_HOME`` that the environment names.

A program of its own: Airflow has one database in a process.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

from airflow.api.common.trigger_dag import trigger_dag
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import select, update

from include.contracts.kinds.text_classifier import TextClassifierCandidate
from include.models import PROJECT_DIR
from model_releases.kinds.text_classifier.approval_card import approval_card
from model_releases.memory import xcoms
from tests import candidates
from tests.end_to_end.releases_world import (
    BROKEN,
    FAILURE,
    HOSTILE_MODEL,
    HOSTILE_RUN,
    HOSTILE_WORDS,
    LIVE,
    NEW_MODEL,
    ROLLING,
)

DAG_ID = "release_sample_reviews"
HOSTILE_DAG_ID = f"release_{HOSTILE_MODEL.replace('-', '_')}"


def main() -> None:
    """Make the database, the registry's connection, the DAGs and their runs."""
    initdb()
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(PROJECT_DIR / "dags")
    assert not bag.import_errors, bag.import_errors
    sync_bag_to_db(bag, "dags-folder", None)
    with create_session() as session:
        session.execute(update(DagModel).values(is_paused=False))
        extra = json.dumps({"tracking_uri": os.environ["REGISTRY_TRACKING_URI"]})
        session.add(Connection(conn_id="registry_default", conn_type="mlflow", extra=extra))
    add_run(DAG_ID, LIVE, DagRunState.SUCCESS, user="uli")
    add_run(DAG_ID, ROLLING, DagRunState.RUNNING, tasks={"promote": TaskInstanceState.RUNNING})
    add_run(DAG_ID, BROKEN, DagRunState.FAILED, tasks={"preprocess": TaskInstanceState.FAILED})
    failure = {"task_id": "preprocess", "error": "InvalidRequestError", "message": FAILURE}
    XComModel.set(key=xcoms.FAILURE, value=failure, dag_id=DAG_ID, task_id="preprocess", run_id=f"manual__{BROKEN}")
    waiting = {"approve": TaskInstanceState.AWAITING_INPUT}
    add_run(f"release_{NEW_MODEL.replace('-', '_')}", "20260930030000", DagRunState.RUNNING, tasks=waiting)
    reported = {"report": TaskInstanceState.SUCCESS}
    add_run(HOSTILE_DAG_ID, HOSTILE_RUN, DagRunState.RUNNING, user="uli", tasks=waiting | reported)
    ask(HOSTILE_DAG_ID, HOSTILE_RUN, approval_card(hostile_candidate(), decision=" ".join(HOSTILE_WORDS[:3])))


def hostile_candidate() -> TextClassifierCandidate:
    """Return a candidate that disagrees with the live model about hostile words, which labels are as well."""
    rows = [
        {
            **dict.fromkeys(("text", "label", "candidate", "live"), words),
            **dict.fromkeys(("candidate_probability", "live_probability"), 0.9),
        }
        for words in HOSTILE_WORDS
    ]
    metrics = [candidates.scores(f1) for f1 in (0.9, 0.8, 0.7)]
    return candidates.candidate(*metrics, comparison=candidates.comparison(disagreements=rows))


def ask(dag_id: str, version: str, body: str) -> None:
    """Leave the question of an approval behind."""
    with create_session() as session:
        task = session.scalars(
            select(TaskInstance).where(
                TaskInstance.dag_id == dag_id,
                TaskInstance.run_id == f"manual__{version}",
                TaskInstance.task_id == "approve",
            )
        ).one()
        options = ["Approve", "Reject"]
        session.add(HITLDetail(ti_id=task.id, options=options, subject=" ".join(HOSTILE_WORDS), body=body))


def add_run(
    dag_id: str, version: str, state: DagRunState, *, user: str = "", tasks: dict[str, TaskInstanceState] | None = None
) -> None:
    """Leave a run behind as it would be after its scheduler stopped."""
    run_id = f"manual__{version}"
    trigger_dag(
        dag_id,
        triggered_by=DagRunTriggeredByType.UI,
        triggering_user_name=user or None,
        run_id=run_id,
        run_after=datetime.strptime(version, "%Y%m%d%H%M%S").replace(tzinfo=UTC),
    )
    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id).values(state=state))
        for task_id, task_state in (tasks or {}).items():
            session.execute(
                update(TaskInstance)
                .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
                .values(state=task_state, try_number=1)
            )


if __name__ == "__main__":
    main()
