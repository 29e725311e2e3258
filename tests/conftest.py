"""Keeps every test run away from the Airflow of whoever runs it, and gives it one of its own to run DAGs in.

Airflow reads its settings when it is first imported, so they are set here, before any test module is.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from include.contracts.model_registry import settling
from tests.airflow_server import make_airflow_tables
from tests.postgresql import PostgresqlServer, postgresql_server
from tests.suite import (  # noqa: F401
    pytest_addoption,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_ignore_collect,
    pytest_runtest_protocol,
    pytest_runtest_setup,
    pytest_xdist_make_scheduler,
    rounds,
)

ROOT = Path(__file__).parent.parent

_home = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)

for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW__"))]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": _home,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PLUGINS_FOLDER": f"{_home}/plugins",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
}

# Nobody else writes to the registries of this process, but where a test says so: there is no rest to wait for.
settling.QUIET_SECONDS = 0.0


@pytest.fixture(scope="session")
def pipelines_python() -> str:
    """Interpreter of the pipeline half's environment; ``PIPELINES_PYTHON`` names another one."""
    python = Path(os.environ.get("PIPELINES_PYTHON") or ROOT / ".venv" / "pipelines" / "bin" / "python")
    assert python.exists(), f"{python} does not exist: set up the pipeline half's environment, or set PIPELINES_PYTHON."
    return str(python)


@pytest.fixture(scope="session")
def kserve_python() -> str:
    """Interpreter of the environment of KServe's own server; ``KSERVE_PYTHON`` names another one."""
    python = Path(os.environ.get("KSERVE_PYTHON") or ROOT / ".venv" / "kserve" / "bin" / "python")
    assert python.exists(), f"{python} does not exist: run `make kserve-server`, or set KSERVE_PYTHON."
    return str(python)


@pytest.fixture(scope="session")
def record_and_wait() -> str:
    """Compiled pipeline whose first step writes a line to ``file`` and sleeps; its second one fails if asked to."""
    return str(ROOT / "tests" / "test_pipelines" / "record_and_wait.yaml")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """Yield a running PostgreSQL server; a test makes its own database in it."""
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite file with Airflow's tables and nothing else, which takes seconds to make; not to be changed."""
    return _made_once(
        tmp_path_factory,
        "airflow.db",
        lambda file: make_airflow_tables(f"sqlite:///{file}", file.with_name("airflow-home")),
    )


def _made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a file that the workers of a run share: one makes it, and the others wait for that."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    file = folder / name
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = file.with_name(f"unfinished-{name}")
            make(unfinished)
            unfinished.rename(file)
    return file


@pytest.fixture(scope="session")
def airflow_database(migrated_database: Path) -> None:
    """Make the database of this session's throw-away ``AIRFLOW_HOME``."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    with closing(sqlite3.connect(migrated_database)) as made, closing(sqlite3.connect(f"{_home}/airflow.db")) as own:
        made.backup(own)
    DagBundlesManager().sync_bundles_to_db()


@pytest.fixture(scope="session")
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
def no_alerts_wait(airflow_database: None) -> Iterator[None]:
    """Forget the alerts of other tests, and those of this one: a receiver is told what waits before what is new."""
    from airflow.models import Variable
    from airflow.utils.session import create_session

    from model_releases.alerts import outbox

    def forget() -> None:
        with create_session() as session:
            session.query(Variable).filter(Variable.key.startswith(outbox.PREFIX, autoescape=True)).delete(False)

    forget()
    yield
    forget()


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an MLflow database as it is after its first use, which takes seconds to make; not to be changed."""
    from airflow.sdk import Connection

    from model_releases.registry.mlflow import MlflowHook

    def make(file: Path) -> None:
        extra = json.dumps({"tracking_uri": f"sqlite:///{file}"})
        hook = MlflowHook("any", connection=Connection(conn_id="any", conn_type="mlflow", extra=extra))
        assert hook.test_connection()[0]

    return _made_once(tmp_path_factory, "mlflow.db", make)
