"""One running Airflow for all files of this folder, which brings its own DAGs and connections to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.airflow_server import AirflowServer, Serve, make_airflow_tables
from tests.alert_listener import Listener, alert_listener
from tests.postgresql import PostgresqlServer


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgresql, pytest.mark.long])]
)
def new_database(request: pytest.FixtureRequest, migrated_database: Path) -> Callable[[Path], str]:
    """Return ``make(home)``, which makes Airflow's database and returns its address."""
    if request.param == "sqlite":
        # Its components write at the same time, and by default one that waits for the others gives up after 5 seconds.
        return lambda home: f"sqlite:///{shutil.copy(migrated_database, home / 'airflow.db')}?timeout=60"
    server: PostgresqlServer = request.getfixturevalue("postgresql")

    def make(home: Path) -> str:
        database = server.new_database()
        make_airflow_tables(database, home)
        return database

    return make


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
