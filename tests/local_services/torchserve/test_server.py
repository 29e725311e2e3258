"""TorchServe as a service of its own: one process keeps it running, others use it and never start or stop it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from airflow.sdk import Connection

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from local_services.roles import Role
from local_services.torchserve.hook import TorchServeHook
from local_services.torchserve.process import TorchServeProcess
from local_services.torchserve.server import keep_running
from local_services.torchserve.settings import TorchServeSettings
from tests.serving_support import GOOD, MODEL, build_version, free_port
from tests.waiting import LIMIT_SECONDS, wait_for

VERSION = "20260101000000"


@pytest.fixture
def connection(tmp_path: Path, pipelines_python: str) -> Callable[..., Connection]:
    """Return ``make(role)``: connections to one server, as its container and Airflow's have them."""
    port = free_port()
    folders = {"state_dir": str(tmp_path / "serving"), "socket_dir": str(tmp_path / "serving" / "run")}

    def make(role: str, **more: str) -> Connection:
        extra = {"role": role, "python": pipelines_python, **folders, **more}
        return Connection(
            conn_id="serving", conn_type="torchserve", host="127.0.0.1", port=port, extra=json.dumps(extra)
        )

    return make


@pytest.fixture
def client(connection: Callable[..., Connection]) -> TorchServeHook:
    return TorchServeHook("serving", connection=connection(Role.CLIENT))


@pytest.fixture
def server(connection: Callable[..., Connection]) -> Iterator[tuple[threading.Thread, threading.Event]]:
    stop = threading.Event()
    hook = TorchServeHook("serving", connection=connection(Role.SERVER))
    thread = threading.Thread(target=keep_running, args=(hook, stop))
    thread.start()
    yield thread, stop
    stop.set()
    thread.join()


def runs(client: TorchServeHook) -> bool:
    return client._process.is_running()


def test_a_client_neither_starts_nor_stops_a_server(client: TorchServeHook) -> None:
    with pytest.raises(ServiceUnavailableError, match="docker compose up -d torchserve"):
        client.get_live(MODEL)
    assert client.test_connection()[0] is False
    with pytest.raises(InvalidRequestError, match="service of its own"):
        client.stop()


@pytest.mark.parametrize(("role", "host"), [(Role.CLIENT, "torchserve"), (Role.SERVER, "0.0.0.0")])
def test_only_a_server_on_demand_is_bound_to_loopback(tmp_path: Path, role: Role, host: str) -> None:
    extra = {"role": role.value, "python": "/usr/bin/python3", "state_dir": str(tmp_path)}
    settings = TorchServeSettings.of(
        Connection(conn_id="s", conn_type="torchserve", host=host, extra=json.dumps(extra))
    )
    assert settings.address == f"http://{host}:8085"


def test_an_unknown_role_is_named(connection: Callable[..., Connection]) -> None:
    conn = connection("butler")
    with pytest.raises(InvalidRequestError, match="role: must be one of on_demand, server, client"):
        TorchServeSettings.of(conn)


def test_users_are_told_the_address_that_they_know(connection: Callable[..., Connection]) -> None:
    conn = connection(Role.CLIENT, public_url="https://models.example.org/")
    url = TorchServeHook("serving", connection=conn).endpoint_url("reviews")
    assert url == "https://models.example.org/v1/models/reviews:predict"


@pytest.mark.torchserve
def test_what_a_client_has_promoted_is_served_again_after_the_server_was_killed(
    client: TorchServeHook,
    server: tuple[threading.Thread, threading.Event],
    connection: Callable[..., Connection],
    tmp_path: Path,
) -> None:
    thread, stop = server
    wait_for(lambda: runs(client), "the server is up")
    client.deploy_candidate(build_version(tmp_path / "store", VERSION))
    client.promote(MODEL, VERSION)

    processes = TorchServeProcess(TorchServeSettings.of(connection(Role.SERVER))).processes()
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=LIMIT_SECONDS)
    wait_for(lambda: runs(client), "the server is up again")

    answer = client.predict(MODEL, GOOD)
    assert answer.body["predictions"][0]["version"] == VERSION
    stop.set()
    thread.join()
    assert not runs(client)
