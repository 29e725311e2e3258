"""One running Airflow for all files of this folder, which brings its own DAGs and connections to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from model_releases.registry.mlflow import MlflowHook
from model_releases.registry.model_registry import ModelRegistryHook
from model_releases.registry.service import RegistryService
from tests.airflow_server import AirflowServer, Serve, make_airflow_tables
from tests.alert_listener import Listener, alert_listener
from tests.doubles.model_registry import model_registry
from tests.postgresql import PostgresqlServer


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgresql, pytest.mark.long])]
)
def database(request: pytest.FixtureRequest) -> str:
    """Return what keeps Airflow's tables."""
    return str(request.param)


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest, database: str, migrated_database: Path) -> Callable[[Path], str]:
    """Return ``make(home)``, which makes Airflow's database and returns its address."""
    if database == "sqlite":
        # Its components write at the same time, and by default one that waits for the others gives up after 5 seconds.
        return lambda home: f"sqlite:///{shutil.copy(migrated_database, home / 'airflow.db')}?timeout=60"
    server: PostgresqlServer = request.getfixturevalue("postgresql")

    def make(home: Path) -> str:
        database = server.new_database()
        make_airflow_tables(database, home)
        return database

    return make


@dataclass(frozen=True)
class Registry:
    """A registry of releases.

    :param connection: fields of its connection, as :meth:`AirflowServer.serve` takes them.
    :param service: asks it from here.
    """

    connection: dict[str, Any]
    service: RegistryService


@pytest.fixture(scope="module")
def registry(
    request: pytest.FixtureRequest, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """Yield a registry for one file and one database of Airflow.

    Every task that asks MLflow spends seconds on its imports: it is there on the long way round.
    """
    if database == "sqlite":
        with model_registry() as server:
            fields: dict[str, Any] = {"conn_type": "kubeflow_model_registry", "host": server.url}
            yield Registry(fields, ModelRegistryHook("registry", connection=Connection(conn_id="registry", **fields)))
        return
    file = shutil.copy(request.getfixturevalue("empty_mlflow"), tmp_path_factory.mktemp("registry"))
    extra = {"tracking_uri": f"sqlite:///{file}"}
    connection = Connection(conn_id="registry", conn_type="mlflow", extra=json.dumps(extra))
    yield Registry({"conn_type": "mlflow", "extra": extra}, MlflowHook("registry", connection=connection))


@pytest.fixture(scope="package")
def serve(new_database: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Return ``serve(files, connections, dag_ids)``: it brings them to the running Airflow, and returns that.

    An Airflow that a file before has hurt is replaced.
    """
    servers: list[AirflowServer] = []

    def serve(
        files: Mapping[str, str], connections: Mapping[str, Mapping[str, Any]], dag_ids: Collection[str]
    ) -> AirflowServer:
        if not servers or not servers[-1].is_whole:
            for hurt in servers:
                hurt.stop()
            home = tmp_path_factory.mktemp("airflow")
            servers[:] = [AirflowServer(home, new_database(home))]
        servers[-1].serve(files, connections, dag_ids)
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def alerts(serve: Serve) -> Iterator[tuple[type[Listener], str]]:
    """Return a receiver of alerts with its address: a new one for each file, and for each database of Airflow."""
    with alert_listener() as listener:
        yield listener
