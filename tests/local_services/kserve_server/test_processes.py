"""KServe's own server answers in both protocols, loses no request to a release, and outlives whoever started it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from kubeflow_provider.exceptions import (
    DeploymentFailedError,
    InvalidRequestError,
    LiveVersionUnknownError,
    PermissionDeniedError,
)
from kubeflow_provider.states import DeploymentState
from local_services.kserve_server.hook import LocalKServeHook
from tests.local_kserve_support import GOOD, MODEL, Installation, connection, local_kserve, onnx_adding_one, published
from tests.serving_support import Users, connection_json
from tests.waiting import LIMIT_SECONDS, wait_for

FIRST, SECOND, THIRD = "20260101000000", "20260102000000", "20260103000000"
SECRET = "my medical history"

pytestmark = pytest.mark.processes


@pytest.fixture
def kserve(kserve_python: str, tmp_path: Path) -> Iterator[Installation]:
    with local_kserve(kserve_python, tmp_path) as running:
        yield running


def release(kserve: Installation, version: str, **more: str) -> None:
    candidate = kserve.build(version, **more)
    assert kserve.ready(candidate).state is DeploymentState.READY
    kserve.hook.promote(MODEL, version)


def answering(hook: LocalKServeHook, version: str | None = None) -> Any:
    answer = hook.predict(MODEL, GOOD, version=version)
    return answer.body["predictions"][0] if answer.status_code == 200 else answer.status_code


def listeners(processes: list[psutil.Process]) -> list[Any]:
    return [found.laddr for process in processes for found in process.net_connections("inet")]


@pytest.mark.long  # told by tests/contract without processes
def test_a_release_its_switch_and_its_roll_back_lose_no_request(kserve: Installation) -> None:
    hook = kserve.hook
    release(kserve, FIRST)
    with Users(hook.endpoint_url(MODEL), number=2, body=GOOD, pause_seconds=0.01) as users:
        second = kserve.build(SECOND)
        assert kserve.ready(second).state is DeploymentState.READY
        assert (answering(hook), answering(hook, SECOND)) == (FIRST, SECOND)
        hook.promote(MODEL, SECOND)
        assert answering(hook) == SECOND
        assert hook.roll_back(MODEL, candidate=SECOND, previous=FIRST)
        assert answering(hook) == FIRST
    assert set(users.statuses) == {200}
    seen = {answer["predictions"][0] for answers in users.answers for answer in map(json_of, answers)}
    assert seen == {FIRST, SECOND}
    check_what_the_address_answers(hook)
    check_what_is_closed(hook)


def json_of(answer: Any) -> Any:
    return answer.json()


def check_what_the_address_answers(hook: LocalKServeHook) -> None:
    """Look at one real server's answers; to start another one for it takes seconds."""
    answer = hook.predict(MODEL, GOOD)
    assert (answer.version, answer.latency_ms > 0) == (FIRST, True)
    url = hook.endpoint_url(MODEL).partition("/v1/")[0]
    with httpx.Client(base_url=url, trust_env=False, timeout=LIMIT_SECONDS) as client:
        tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
        found = client.post(f"/v2/models/{MODEL}/infer", json={"id": "42", "inputs": [tensor]}).json()
        assert (found["model_name"], found["model_version"], found["id"]) == (MODEL, FIRST, "42")
        assert found["outputs"][0]["data"] == [FIRST, FIRST]
        assert client.get(f"/v2/models/{MODEL}/ready").status_code == 200
        assert client.get(f"/v1/models/{MODEL}").json() == {"name": MODEL, "ready": True}
        for wrong in (
            {"inputs": []},
            {"inputs": [tensor | {"shape": [3]}]},
            {"inputs": [tensor | {"data": [SECRET, SECRET]}]},
            {"inputs": [tensor | {"datatype": SECRET}]},
            {"inputs": SECRET},
        ):
            refused = client.post(f"/v2/models/{MODEL}/infer", json=wrong)
            assert (refused.status_code, SECRET in refused.text) == (400, False), wrong
        for wrong in ({}, {"instances": []}, {"instances": SECRET}, {"instances": {"a": SECRET}}):
            refused = client.post(f"/v1/models/{MODEL}:predict", json=wrong)
            assert (refused.status_code, SECRET in refused.text) == (400, False), wrong
        for path in (f"/v2/repository/models/{MODEL}/unload", "/openapi.json", "/metrics"):
            assert client.post(path).status_code == 404
        assert client.post(f"/v1/models/{MODEL}:predict", content=GOOD).status_code == 415
        assert client.post(f"/v1/models/{MODEL}:predict", content=b" " * 10_000_001).status_code == 413
    assert answering(hook) == FIRST
    logs = "".join(path.read_text() for path in hook._processes.log_dir.iterdir())
    assert SECRET not in logs


def check_what_is_closed(hook: LocalKServeHook) -> None:
    """Look who can reach the processes: the router is on loopback, and the servers behind it at no address at all."""
    run_dir, state_dir = hook._processes.run_dir, hook._settings.state_dir
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (run_dir, state_dir)] == [0o700] * 2
    processes = hook._processes.processes()
    assert len(processes) == 2
    assert {(found.ip, found.port) for found in listeners(processes)} == {("127.0.0.1", hook._settings.port)}
    for process in processes:
        assert not [name for name in process.environ() if "AIRFLOW" in name]


@pytest.mark.long
def test_two_formats_in_two_protocols(kserve: Installation, tmp_path: Path) -> None:
    hook = kserve.hook
    line = published(kserve.write(tmp_path / "line.skops", "line"), FIRST, "sklearn", model="line")
    folder = tmp_path / "onnx"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(onnx_adding_one())
    (folder / "labels.txt").write_text("a\nb\n")
    adding = published(folder, FIRST, "onnx", "v2", model="adding")
    for candidate in (line, adding):
        hook.deploy_candidate(candidate)
    for candidate in (line, adding):
        assert kserve.ready(candidate).state is DeploymentState.READY
        hook.promote(candidate.model, FIRST)
    assert hook.endpoint_url("adding").endswith("/v2/models/adding/infer")
    found = hook.predict("line", b'{"instances": [[1], [2.5]]}').body["predictions"]
    assert found == pytest.approx([3, 6])
    for wrong in (b'{"instances": [[1, 2]]}', b'{"instances": [["x"]]}', b'{"instances": [[1], [1, 2]]}'):
        assert hook.predict("line", wrong).status_code == 400

    def infer(**more: Any) -> Any:
        tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4], **more}
        return hook.predict("adding", json.dumps({"inputs": [tensor]}).encode())

    answer = infer()
    assert (answer.body["model_version"], answer.version) == (FIRST, FIRST)
    [output] = answer.body["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("y", [2, 2], "FP32")
    assert output["data"] == [2, 3, 4, 5]
    for wrong in ({"name": "z"}, {"shape": [4, 1]}, {"datatype": "BYTES", "data": ["a"] * 4}, {"data": [[1, 2], [3]]}):
        assert infer(**wrong).status_code == 400, wrong
    by_rows = httpx.post(
        hook.endpoint_url("adding").replace("/v2/models/adding/infer", "/v1/models/adding:predict"),
        json={"instances": [[1, 2], [3, 4]]},
    )
    assert by_rows.json() == {"predictions": [[2, 3], [4, 5]]}


@pytest.mark.long
def test_a_pickle_runs_only_where_it_may(kserve_python: str, tmp_path: Path) -> None:
    with local_kserve(kserve_python, tmp_path, allow_pickle=True) as kserve:
        marker = tmp_path / "it-ran"
        path = kserve.write(tmp_path / "model.joblib", "marker", marker=str(marker))
        deployment = kserve.ready(published(path, FIRST, "sklearn"))
        assert deployment.state is DeploymentState.FAILED
        assert "has no `predict`" in (deployment.reason or "")
        assert marker.exists()
        marker.unlink()
        # The same bytes with another name are no model, and nothing of them runs.
        path = path.rename(tmp_path / "model.skops")
        assert kserve.ready(published(path, SECOND, "sklearn")).state is DeploymentState.FAILED
        assert not marker.exists()


@pytest.mark.long
def test_a_broken_candidate_and_dead_processes_are_told_and_mended(kserve: Installation) -> None:
    hook = kserve.hook
    release(kserve, FIRST)
    broken = kserve.ready(kserve.build(SECOND, behaviour="broken"))
    assert (broken.state, "not a zip file" in (broken.reason or "")) == (DeploymentState.FAILED, True)
    with pytest.raises(DeploymentFailedError, match="FAILED"):
        hook.promote(MODEL, SECOND)
    third = kserve.build(THIRD)
    assert kserve.ready(third).state is DeploymentState.READY
    killed = hook._processes.processes()
    for process in killed:
        process.kill()
    psutil.wait_procs(killed, timeout=LIMIT_SECONDS)
    assert answering(hook) == FIRST
    assert hook.get_deployment(MODEL, THIRD) is None, "a candidate does not come back"
    assert hook.get_traffic(MODEL) == {FIRST: 100}
    router, server = sorted(hook._processes.processes(), key=lambda process: "router" not in str(process.cmdline()))
    server.kill()
    psutil.wait_procs([server], timeout=LIMIT_SECONDS)
    live = hook.get_live(MODEL)
    assert live
    assert (live.state, answering(hook)) == (DeploymentState.READY, FIRST)
    router.kill()
    psutil.wait_procs([router], timeout=LIMIT_SECONDS)
    survivors = {process.pid for process in hook._processes.processes()}
    assert answering(hook) == FIRST
    assert len(survivors) == 1
    assert survivors < {process.pid for process in hook._processes.processes()}, "a version outlives its router"


@pytest.mark.long
def test_what_a_killed_task_began_is_found_again(kserve: Installation, tmp_path: Path) -> None:
    candidate = kserve.build(FIRST)
    program = tmp_path / "task.py"
    program.write_text(
        "import os, signal\n"
        "from kubeflow_provider.services import ModelVersion\n"
        "from local_services.kserve_server.hook import LocalKServeHook\n"
        f"LocalKServeHook('local_kserve_test').deploy_candidate(ModelVersion(model={MODEL!r}, version={FIRST!r}, "
        f"archive_uri={candidate.archive_uri!r}, archive_sha256={candidate.archive_sha256!r}, "
        f"settings={candidate.settings!r}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(["plugins", "."]),
        "AIRFLOW_CONN_LOCAL_KSERVE_TEST": connection_json(kserve.connection),
    }
    assert subprocess.run([sys.executable, str(program)], env=environment, check=False).returncode == -signal.SIGKILL
    before = {process.pid for process in kserve.hook._processes.processes()}
    assert len(before) == 2
    assert kserve.ready(candidate).state is DeploymentState.READY
    kserve.hook.promote(MODEL, FIRST)
    assert answering(kserve.hook) == FIRST
    assert {process.pid for process in kserve.hook._processes.processes()} == before


@pytest.mark.long
def test_a_lost_record_is_restored_from_what_the_registry_knows(kserve: Installation) -> None:
    hook = kserve.hook
    candidate = kserve.build(FIRST)
    kserve.ready(candidate)
    hook.promote(MODEL, FIRST)
    assert answering(hook) == FIRST
    (hook._settings.state_dir / "live.json").write_text("{")
    with pytest.raises(LiveVersionUnknownError):
        hook.get_live(MODEL)
    assert answering(hook) == FIRST, "users notice nothing"
    hook.restore_live(MODEL, candidate)
    live = hook.get_live(MODEL)
    assert live
    assert (live.version, live.state, answering(hook)) == (FIRST, DeploymentState.READY, FIRST)


@pytest.mark.long
def test_files_that_were_changed_are_not_loaded_again(kserve: Installation) -> None:
    hook = kserve.hook
    release(kserve, FIRST)
    [path] = (hook._settings.model_store / f"{MODEL}-{FIRST}").iterdir()
    hook.stop()
    path.write_bytes(b"others")
    live = hook.get_live(MODEL)
    assert live
    assert (live.state, live.is_live) == (DeploymentState.FAILED, True)
    assert "was changed" in (live.reason or "")


def test_a_port_that_is_in_use_is_named(kserve_python: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        hook = LocalKServeHook("here", connection=connection(kserve_python, tmp_path / "state", port=port))
        with pytest.raises(InvalidRequestError, match=f":{port} is in use"):
            hook.start()


def test_a_folder_that_others_can_enter_is_refused(kserve_python: str, tmp_path: Path) -> None:
    hook = LocalKServeHook("here", connection=connection(kserve_python, tmp_path / "state"))
    run_dir = hook._processes.run_dir
    run_dir.mkdir(mode=0o755)
    try:
        with pytest.raises(PermissionDeniedError, match="0700"):
            hook.start()
    finally:
        run_dir.rmdir()


def test_an_environment_without_the_router_is_told_with_its_last_lines(tmp_path: Path) -> None:
    hook = LocalKServeHook("here", connection=connection("/bin/false", tmp_path / "state"))
    is_ok, message = hook.test_connection()
    assert not is_ok
    assert "did not start" in message
    wait_for(lambda: not hook._processes.processes(), "the end of what was started")
