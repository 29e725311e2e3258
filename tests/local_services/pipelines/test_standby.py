from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from airflow.sdk import Connection

from kubeflow_provider.pipelines.spec import bind
from kubeflow_provider.services import Run, RunRequest
from kubeflow_provider.states import RunState
from local_services.pipelines import standby
from local_services.pipelines.hook import LocalPipelinesHook
from local_services.pipelines.marked_processes import MARK
from local_services.pipelines.run_folder import RunFolder
from tests.waiting import LIMIT_SECONDS

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.pipelines


@pytest.fixture
def runs_dir(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder whose path is longer than a socket's may be; what waits for it is stopped after the test."""
    folder = tmp_path / ("a-long-name-" * 10) / "runs"
    yield folder
    standby.dismiss(folder)


@pytest.fixture
def hook(runs_dir: Path, pipelines_python: str) -> LocalPipelinesHook:
    extra = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(runs_dir)}
    connection = Connection(conn_id="pipelines", conn_type="local_pipelines", extra=json.dumps(extra))
    return LocalPipelinesHook("pipelines", connection=connection)


def ask(file: Path, pipeline: str, **parameters: object) -> RunRequest:
    parameters = bind(pipeline, {"file": str(file), **parameters})
    return RunRequest(run_id=str(uuid4()), pipeline_file=pipeline, parameters=parameters, display_name="a test")


def start(runs_dir: Path, python: str) -> int:
    """Start a process that waits; return its id once it can be found."""
    standby.start(python=python, project_dir=str(ROOT), runs_dir=runs_dir)
    while not (names := [path.name for path in (runs_dir / ".standby").glob("[!.]*")]):
        time.sleep(0.05)
    return next(process.pid for process in psutil.process_iter() if marked(process, names[0]))


def marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def wait(hook: LocalPipelinesHook, run_id: str) -> Run:
    while not (run := hook.get_run(run_id)) or not run.state.is_terminal:
        time.sleep(0.1)
    return run


def test_the_next_run_becomes_the_waiting_process_and_only_that_one(
    hook: LocalPipelinesHook, runs_dir: Path, pipelines_python: str, record_and_wait: str, tmp_path: Path
) -> None:
    waiting = start(runs_dir, pipelines_python)
    first, second = (ask(tmp_path / name, record_and_wait) for name in ("first", "second"))

    hook.create_run(first)
    hook.create_run(first)
    hook.create_run(second)

    assert int((runs_dir / first.run_id / "pid").read_text()) == waiting
    assert int((runs_dir / second.run_id / "pid").read_text()) != waiting
    assert RunFolder(runs_dir / second.run_id).mark == second.run_id
    for request, name in ((first, "first"), (second, "second")):
        assert wait(hook, request.run_id).state is RunState.SUCCEEDED
        assert len((tmp_path / name).read_text().splitlines()) == 1
        assert "recorded" in hook.get_run_log(request.run_id)
    assert list((runs_dir / ".standby").iterdir()) == []


def test_a_run_in_a_waiting_process_can_be_stopped_before_its_imports_are_made(
    hook: LocalPipelinesHook, runs_dir: Path, pipelines_python: str, record_and_wait: str, tmp_path: Path
) -> None:
    waiting = psutil.Process(start(runs_dir, pipelines_python))
    request = ask(tmp_path / "file", record_and_wait, seconds=60)

    hook.create_run(request)
    hook.terminate_run(request.run_id)

    assert wait(hook, request.run_id).state is RunState.CANCELED
    assert waiting.wait(timeout=LIMIT_SECONDS) is not None
    assert not (tmp_path / "file").exists()


def test_a_waiting_process_that_was_killed_is_passed_over(
    hook: LocalPipelinesHook, runs_dir: Path, pipelines_python: str, record_and_wait: str, tmp_path: Path
) -> None:
    waiting = psutil.Process(start(runs_dir, pipelines_python))
    waiting.kill()
    waiting.wait(timeout=LIMIT_SECONDS)
    request = ask(tmp_path / "file", record_and_wait)

    hook.create_run(request)

    assert RunFolder(runs_dir / request.run_id).mark == request.run_id
    assert wait(hook, request.run_id).state is RunState.SUCCEEDED


def test_one_that_dies_with_a_run_in_its_hands_ends_the_run(
    hook: LocalPipelinesHook, runs_dir: Path, pipelines_python: str, record_and_wait: str, tmp_path: Path
) -> None:
    waiting = start(runs_dir, pipelines_python)
    request = ask(tmp_path / "file", record_and_wait)

    hook.create_run(request)
    os.kill(waiting, signal.SIGKILL)

    assert wait(hook, request.run_id).state is RunState.FAILED
    assert not (tmp_path / "file").exists()


def test_dismissing_stops_what_waits(runs_dir: Path, pipelines_python: str) -> None:
    waiting = psutil.Process(start(runs_dir, pipelines_python))

    standby.dismiss(runs_dir)
    standby.dismiss(runs_dir)

    assert waiting.wait(timeout=LIMIT_SECONDS) is not None


def test_nothing_waits_where_nothing_was_started(runs_dir: Path, tmp_path: Path) -> None:
    assert standby.take(runs_dir, tmp_path) is None


def test_a_socket_that_nobody_listens_at_is_no_process(runs_dir: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "mark"))
    with (tmp_path / "file").open("w") as file:
        assert standby.hand_over(tmp_path, "mark", lock=file.fileno(), log=file.fileno()) is None
    assert not (tmp_path / "mark").exists()
