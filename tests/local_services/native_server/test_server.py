"""Native servers in a process of their own: a client releases there, what is live comes back, its end loses nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState
from local_services.native_server.hook import LocalNativeHook
from local_services.native_server.processes import NativeProcesses
from local_services.roles import Role
from local_services.version_servers.supervisor import ready_file
from tests.native_support import build_native_version, native_connection
from tests.serving_support import GOOD, MODEL, Users, connection_json, free_port
from tests.waiting import LIMIT_SECONDS, wait_for

ROOT = Path(__file__).parents[3]
FIRST, SECOND = "20260101000000", "20260102000000"


class Service:
    """A program that runs native servers, as a container has it, and a client of it."""

    def __init__(self, python: str, folder: Path) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        fields = {"state_dir": folder / "state", "port": self.port}
        self.connection = native_connection(python, role=Role.SERVER, **fields)
        self.hook = LocalNativeHook(connection=native_connection("", role=Role.CLIENT, **fields))
        self.parts = NativeProcesses(LocalNativeHook(connection=self.connection).settings)
        self.program: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it and wait until what was live can answer."""
        self.program = subprocess.Popen(
            [
                *(sys.executable, "-m", "local_services.native_server.server"),
                *("--conn-id", "native_server", "--metrics-port", str(self.metrics_port)),
            ],
            cwd=ROOT,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(["plugins", "."]),
                "AIRFLOW_CONN_NATIVE_SERVER": connection_json(self.connection),
            },
        )
        # As the health check of docker-compose.yaml: the file may be one of a service that was killed.
        wait_for(lambda: self.parts.is_router_up() and ready_file(self.parts.run_dir).exists(), "the service is ready")

    def kill(self) -> None:
        """Kill all of it, as the end of a container does."""
        self.program.kill()
        self.program.wait(LIMIT_SECONDS)
        killed = self.parts.processes()
        for process in killed:
            process.kill()
        psutil.wait_procs(killed, timeout=LIMIT_SECONDS)

    def end(self) -> int:
        """Tell it to end; return its exit code."""
        self.program.send_signal(signal.SIGTERM)
        return self.program.wait(LIMIT_SECONDS)

    def release(self, candidate: ModelVersion) -> None:
        """Deploy a version and promote it."""
        assert self.deploy(candidate).state is DeploymentState.READY
        self.hook.promote(MODEL, candidate.version)

    def deploy(self, candidate: ModelVersion) -> Any:
        """Deploy a version and wait until it is loaded."""
        deployment: Any = self.hook.deploy_candidate(candidate)
        deadline = time.monotonic() + LIMIT_SECONDS
        while not deployment.state.is_terminal:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            deployment = self.hook.get_deployment(candidate.model, candidate.version)
        return deployment

    def answering(self, version: str | None = None) -> Any:
        """Return the version that answers."""
        return self.hook.predict(MODEL, GOOD, version=version).body["predictions"][0]["version"]


@pytest.fixture
def service(pipelines_python: str, tmp_path: Path) -> Iterator[Service]:
    service = Service(pipelines_python, tmp_path)
    service.start()
    yield service
    if service.program.poll() is None:
        service.end()
    service.parts.stop()


@pytest.mark.processes
@pytest.mark.long
def test_a_release_and_its_roll_back_in_a_service_lose_no_request_and_outlive_its_end(
    service: Service, tmp_path: Path
) -> None:
    hook = service.hook
    first, second = (build_native_version(tmp_path / "store", version) for version in (FIRST, SECOND))
    service.release(first)
    with Users(hook.endpoint_url(MODEL), number=2, pause_seconds=0.01) as users:
        service.release(second)
        assert service.answering() == SECOND
        hook.roll_back(MODEL, candidate=SECOND, previous=FIRST)
        assert service.answering() == FIRST
        service.release(second)
    assert set(users.statuses) == {200}
    assert {row["version"] for rows in users.predictions() for row in rows} == {FIRST, SECOND}

    numbers = httpx.get(f"http://127.0.0.1:{service.metrics_port}/metrics").text
    for version in (FIRST, SECOND):
        assert f'model_server_ready{{model="{MODEL}",version="{version}"}} 1' in numbers
    # All of it runs below the service, none below this process, which is the client.
    parents = {process.ppid() for process in service.parts.processes()}
    assert os.getpid() not in parents
    assert service.program.pid in parents

    service.kill()
    with pytest.raises(ServiceUnavailableError, match="docker compose up -d native"):
        hook.get_live(MODEL)
    service.start()
    assert service.answering() == SECOND, "nobody had to ask for it"
    assert hook.get_previous(MODEL) == FIRST

    with socket.create_connection(("127.0.0.1", service.port)) as user:
        head = f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        user.sendall(f"{head}Content-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD[:5])
        service.program.send_signal(signal.SIGTERM)
        wait_for(lambda: is_closed(service.port), "nobody else is let in")
        user.sendall(GOOD[5:])
        answer = b"".join(iter(lambda: user.recv(1 << 16), b"")).decode()
    assert answer.startswith("HTTP/1.1 200 ")
    assert json.loads(answer.partition("\r\n\r\n")[2])["predictions"][0]["version"] == SECOND
    assert service.program.wait(LIMIT_SECONDS) == 0
    assert service.parts.processes() == []
    assert not service.parts.run_dir.exists()


@pytest.mark.processes
@pytest.mark.long
def test_a_service_mends_what_ends_and_refuses_what_was_changed(service: Service, tmp_path: Path) -> None:
    hook = service.hook
    service.release(build_native_version(tmp_path / "store", FIRST))
    broken = service.deploy(build_native_version(tmp_path / "store", SECOND, behaviour="does not load"))
    assert (broken.state, "the weights do not fit" in broken.reason) == (DeploymentState.FAILED, True)
    for program in ("include.classifier.native", "runtime.router"):
        killed = [each for each in service.parts.processes() if program in " ".join(each.cmdline())]
        assert killed
        for process in killed:
            process.kill()
        psutil.wait_procs(killed, timeout=LIMIT_SECONDS)
        assert service.answering() == FIRST, "the client has it started, or the service itself was faster"

    archive = hook.settings.model_store / f"{MODEL}-{FIRST}" / "model-store" / f"{MODEL}.mar"
    sound = archive.read_bytes()
    assert service.end() == 0
    archive.write_bytes(sound + b"more")
    service.start()
    live = hook.get_live(MODEL)
    assert live
    assert (live.state, "was changed" in (live.reason or "")) == (DeploymentState.FAILED, True)
    stored = hook._record.model(MODEL).versions[FIRST]
    with pytest.raises(InvalidRequestError, match="missing or was changed"):
        hook._processes.start_version(MODEL, FIRST, stored, archive)


def is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
