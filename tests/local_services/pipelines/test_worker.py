"""The worker of local runs. What a run does is not its business, so the runs here only say that they have begun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from airflow.sdk import Connection

from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.services import RunRequest
from kubeflow_provider.states import RunState
from local_services.pipelines.hook import LocalPipelinesHook
from local_services.pipelines.marked_processes import terminate_marked
from local_services.pipelines.run_folder import RunFolder, worker_lives, worker_lock
from local_services.pipelines.worker import PipelineWorker
from tests.waiting import LIMIT_SECONDS, wait_for

pytestmark = pytest.mark.processes

#: Stands for ``include/pipelines/local_runner.py``: it keeps the account that a run keeps, and waits to be told to end.
RUNNER = """
import json, os, sys, time
from pathlib import Path

run = Path(sys.argv[1])


def say(state):
    # Replaced whole, as the real one does it: nobody ever reads half of it.
    (run / "state.part").write_text(json.dumps({"state": state, "steps": []}))
    os.replace(run / "state.part", run / "state.json")


say("RUNNING")
with (run / "begun").open("a") as begun:
    begun.write("x")
while not (run / "end").exists():
    time.sleep(0.02)
say("SUCCEEDED")
"""


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[LocalPipelinesHook]:
    package = tmp_path / "project" / "include" / "pipelines"
    package.mkdir(parents=True)
    (package / "local_runner.py").write_text(RUNNER)
    extra = {
        "python": sys.executable,
        "project_dir": str(tmp_path / "project"),
        "runs_dir": str(tmp_path / "runs"),
        "worker": True,
    }
    hook = LocalPipelinesHook(
        "runs", connection=Connection(conn_id="runs", conn_type="local_pipelines", extra=json.dumps(extra))
    )
    hook.settings.runs_dir.mkdir()
    yield hook
    for path in hook.settings.runs_dir.glob("[!.]*"):
        terminate_marked(path.name, grace_seconds=0)


@pytest.fixture
def worker(hook: LocalPipelinesHook) -> PipelineWorker:
    return PipelineWorker(hook)


def ask(hook: LocalPipelinesHook, tmp_path: Path) -> RunFolder:
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text('{"pipelineInfo": {"name": "p"}, "root": {"dag": {}}, "deploymentSpec": {"executors": {}}}')
    run_id = str(uuid4())
    spec = read_pipeline_spec(pipeline)
    hook.create_run(RunRequest(run_id=run_id, pipeline=spec, parameters={}, display_name="a run"))
    return RunFolder(hook.settings.runs_dir / run_id)


def begun(folder: RunFolder) -> int:
    file = folder.path / "begun"
    return len(file.read_text()) if file.exists() else 0


def kill(folder: RunFolder) -> None:
    terminate_marked(folder.run_id, grace_seconds=0)
    wait_for(lambda: not folder.is_alive, "the process is gone")


def state(hook: LocalPipelinesHook, folder: RunFolder) -> RunState:
    run = hook.get_run(folder.run_id)
    assert run is not None
    return run.state


def test_a_run_waits_for_the_worker_and_is_started_once(
    hook: LocalPipelinesHook, worker: PipelineWorker, tmp_path: Path
) -> None:
    folder = ask(hook, tmp_path)
    assert state(hook, folder) is RunState.PENDING
    assert not folder.was_started

    for _ in range(3):
        worker.look()
    wait_for(lambda: begun(folder) == 1, "the run begins")
    assert state(hook, folder) is RunState.RUNNING
    (folder.path / "end").touch()
    wait_for(lambda: state(hook, folder) is RunState.SUCCEEDED and not folder.is_alive, "the run ends")
    worker.look()
    assert begun(folder) == 1


def test_runs_begin_in_the_order_in_which_they_were_asked_for_and_not_too_many_at_a_time(
    hook: LocalPipelinesHook, worker: PipelineWorker, tmp_path: Path
) -> None:
    first, second = ask(hook, tmp_path), ask(hook, tmp_path)
    os.utime(second.path / "request.json", (time.time() + 10, time.time() + 10))
    worker.look()
    worker.look()
    wait_for(lambda: begun(first) == 1, "the first begins")
    assert not second.was_started

    (first.path / "end").touch()
    wait_for(lambda: not first.is_alive, "the first ends")
    worker.look()
    wait_for(lambda: begun(second) == 1, "the second begins")


def test_a_cancelled_run_is_stopped_by_the_worker_and_a_waiting_one_never_begins(
    hook: LocalPipelinesHook, worker: PipelineWorker, tmp_path: Path
) -> None:
    going = ask(hook, tmp_path)
    worker.look()
    wait_for(lambda: begun(going) == 1, "the run begins")
    waiting = ask(hook, tmp_path)

    hook.terminate_run(going.run_id)
    hook.terminate_run(waiting.run_id)
    assert going.is_alive, "whoever asks is in another container, and cannot reach the process"
    assert state(hook, going) is RunState.CANCELING

    worker.look()
    wait_for(lambda: not going.is_alive, "the process is gone")
    worker.look()
    assert [state(hook, going), state(hook, waiting)] == [RunState.CANCELED] * 2
    assert begun(waiting) == 0


def test_only_the_worker_decides_that_a_run_has_died(
    hook: LocalPipelinesHook, worker: PipelineWorker, tmp_path: Path
) -> None:
    folder = ask(hook, tmp_path)
    worker.look()
    wait_for(lambda: begun(folder) == 1, "the run begins")
    kill(folder)
    assert state(hook, folder) is RunState.RUNNING, "the worker may be gone as well, and begin it again"

    worker.look()
    run = hook.get_run(folder.run_id)
    assert run is not None and run.state is RunState.FAILED
    assert "killed" in str(run.reason)


def test_a_run_that_went_down_with_its_worker_begins_again_once(hook: LocalPipelinesHook, tmp_path: Path) -> None:
    folder = ask(hook, tmp_path)
    for times in (1, 2):
        worker = PipelineWorker(hook)
        worker.begin_again()
        worker.look()
        wait_for(lambda times=times: begun(folder) == times, "the run begins")  # type: ignore[misc]
        kill(folder)

    worker = PipelineWorker(hook)
    worker.begin_again()
    worker.look()
    assert state(hook, folder) is RunState.FAILED
    assert begun(folder) == 2


def replaced(folder: RunFolder, pipeline: Path) -> None:
    pipeline.write_text("another pipeline")


def asked_for_by_version_0_1_0(folder: RunFolder, pipeline: Path) -> None:
    (folder.path / "request.json").write_text(json.dumps({"parameters": {}, "display_name": "a run"}))


def out_of_the_workers_sight(folder: RunFolder, pipeline: Path) -> None:
    pipeline.unlink()


@pytest.mark.parametrize(
    ("upgrade", "begins"), [(replaced, False), (asked_for_by_version_0_1_0, False), (out_of_the_workers_sight, True)]
)
@pytest.mark.parametrize("interrupted", [False, True], ids=["waiting", "interrupted"])
def test_after_an_upgrade_no_run_begins_whose_pipeline_has_changed(
    hook: LocalPipelinesHook,
    tmp_path: Path,
    upgrade: Callable[[RunFolder, Path], None],
    begins: bool,
    interrupted: bool,
) -> None:
    folder = ask(hook, tmp_path)
    if interrupted:
        PipelineWorker(hook).look()
        wait_for(lambda: begun(folder) == 1, "the run begins")
        kill(folder)
    upgrade(folder, tmp_path / "pipeline.yaml")

    worker = PipelineWorker(hook)
    worker.begin_again()
    worker.look()
    if begins:
        wait_for(lambda: begun(folder) == 1 + interrupted, "the run begins")
        return
    run = hook.get_run(folder.run_id)
    assert run is not None and run.state is RunState.FAILED
    assert "pipeline has changed" in str(run.reason)
    worker.look()
    assert begun(folder) == interrupted
    assert not folder.is_alive


def test_a_new_worker_leaves_alone_what_is_over_or_cancelled(
    hook: LocalPipelinesHook, worker: PipelineWorker, tmp_path: Path
) -> None:
    over = ask(hook, tmp_path)
    (over.path / "end").touch()
    worker.look()
    wait_for(lambda: over.is_over and not over.is_alive, "the run ends")
    cancelled = ask(hook, tmp_path)
    worker.look()
    wait_for(lambda: begun(cancelled) == 1, "the run begins")
    hook.terminate_run(cancelled.run_id)
    kill(cancelled)

    worker.begin_again()
    worker.look()
    assert [begun(over), begun(cancelled)] == [1, 1]
    assert [state(hook, over), state(hook, cancelled)] == [RunState.SUCCEEDED, RunState.CANCELED]


def test_the_connection_says_when_nobody_would_start_a_run(hook: LocalPipelinesHook) -> None:
    works, message = hook.test_connection()
    assert not works
    assert "docker compose up -d pipelines" in message
    with worker_lock(hook.settings.runs_dir) as is_mine:
        assert is_mine
        assert "worker" not in hook.test_connection()[1]


def test_the_process_works_until_it_is_told_to_stop_and_is_the_only_one(
    hook: LocalPipelinesHook, tmp_path: Path
) -> None:
    connection = hook._connection
    assert connection is not None
    env = os.environ | {
        "AIRFLOW_CONN_RUNS": json.dumps({"conn_type": connection.conn_type, "extra": connection.extra}),
        "PYTHONPATH": str(Path(__file__).parents[3] / "plugins"),
    }
    command = [sys.executable, "-m", "local_services.pipelines.worker", "--conn-id", "runs"]
    process = subprocess.Popen(command, env=env)
    try:
        wait_for(lambda: worker_lives(hook.settings.runs_dir), "the worker is there")
        folder = ask(hook, tmp_path)
        wait_for(lambda: begun(folder) == 1, "the run begins")
        other = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT_SECONDS)
        assert other.returncode == 1
        assert "has a worker already" in other.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LIMIT_SECONDS) == 0
