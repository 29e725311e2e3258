"""A throw-away Airflow database, and DAGs that run in it inside the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Make the database of this session's throw-away ``AIRFLOW_HOME``."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()


@pytest.fixture
def run_dag(airflow_database: None) -> Callable[..., Any]:
    """Return ``run(dag, **conf)``, which runs a DAG as ``airflow dags test`` does and returns its run."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    def run(dag: Any, **conf: Any) -> Any:
        # A run belongs to a version of its DAG, which comes to be when the DAG is stored.
        bag = DagBag("/dev/null", collect_dags=False)
        bag.dags[dag.dag_id] = dag
        dag.relative_fileloc = "made_in_a_test.py"
        sync_bag_to_db(bag, "dags-folder", None)
        return dag.test(run_conf=conf)

    return run


@pytest.fixture
def xcom() -> Callable[..., Any]:
    """Return ``read(dag_run, task_id, key)``, which reads what a task left."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    def read(dag_run: Any, task_id: str, key: str = "return_value") -> Any:
        with create_session() as session:
            row = session.scalars(
                XComModel.get_many(
                    run_id=dag_run.run_id, dag_ids=dag_run.dag_id, task_ids=task_id, key=key
                ).with_only_columns(XComModel)
            ).first()
            return None if row is None else XComModel.deserialize_value(row)

    return read
