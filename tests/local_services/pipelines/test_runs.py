from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from airflow.sdk import Connection

from include import marked_processes
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.pipelines.spec import bind
from kubeflow_provider.services import PipelineService, Run, RunRequest
from kubeflow_provider.states import RunState
from local_services.pipelines import hook as local_pipelines
from local_services.pipelines.hook import LocalPipelinesHook
from local_services.pipelines.marked_processes import MARK, terminate_marked
from local_services.pipelines.run_folder import RunFolder
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.pipelines


@pytest.fixture
def hook(connection: Connection) -> LocalPipelinesHook:
    return LocalPipelinesHook("pipelines", connection=connection)


@pytest.fixture
def request_for(record_and_wait: str, tmp_path: Path) -> Iterator[Callable[..., RunRequest]]:
    """Return ``make(**parameters)``; what its runs leave behind is stopped after the test."""
    ids = []

    def make(**parameters: object) -> RunRequest:
        ids.append(str(uuid4()))
        pipeline = read_pipeline_spec(record_and_wait)
        return RunRequest(
            run_id=ids[-1],
            pipeline=pipeline,
            parameters=bind(pipeline, {"file": str(tmp_path / "recorded"), **parameters}),
            display_name="a test",
        )

    yield make
    for run_id in ids:
        terminate_marked(run_id, grace_seconds=0)


def wait(hook: LocalPipelinesHook, run_id: str, until: Callable[[Run], bool]) -> Run:
    seen: list[Run] = []

    def is_there() -> bool:
        run = hook.get_run(run_id)
        assert run is not None
        seen[:] = [run]
        assert until(run) or not run.state.is_terminal, run
        return until(run)

    wait_for(is_there, lambda: f"more than {seen}")
    return seen[0]


def is_over(run: Run) -> bool:
    return run.state.is_terminal


def is_asleep(run: Run) -> bool:
    return bool(run.steps) and run.steps[-1].progress is not None


def recorded(tmp_path: Path) -> list[str]:
    file = tmp_path / "recorded"
    return file.read_text().splitlines() if file.exists() else []


def processes(run_id: str) -> list[psutil.Process]:
    return marked_processes.find(MARK, run_id)


def runner(run_id: str) -> psutil.Process:
    return next(process for process in processes(run_id) if "include.pipelines.local_runner" in process.cmdline())


def test_is_a_pipeline_service(hook: LocalPipelinesHook) -> None:
    assert isinstance(hook, PipelineService)


def test_runs_a_pipeline_to_its_end(hook: LocalPipelinesHook, request_for: Callable[..., RunRequest]) -> None:
    request = request_for()
    started = hook.create_run(request)
    run = wait(hook, request.run_id, is_over)

    assert started.state in (RunState.PENDING, RunState.RUNNING)
    assert run.state is RunState.SUCCEEDED
    assert run.display_name == "a test"
    assert [(step.name, step.state) for step in run.steps] == [
        ("record", RunState.SUCCEEDED),
        ("finish", RunState.SUCCEEDED),
    ]
    log = hook.get_run_log(request.run_id, last_lines=1000)
    assert "recorded" in log
    assert "\x1b" not in log


def test_says_why_a_run_failed(hook: LocalPipelinesHook, request_for: Callable[..., RunRequest]) -> None:
    request = request_for(fail=True)
    hook.create_run(request)
    run = wait(hook, request.run_id, is_over)

    assert run.state is RunState.FAILED
    assert run.reason == "Step 'finish' failed: ValueError: column 'stars' is missing"
    assert [step.state for step in run.steps] == [RunState.SUCCEEDED, RunState.FAILED]
    log = hook.get_run_log(request.run_id, last_lines=1000)
    assert "column 'stars' is missing" in log
    assert "recorded" not in log, "the log of the step that did not fail"
    assert len(hook.get_run_log(request.run_id, last_lines=2).splitlines()) == 2


@pytest.mark.long
def test_suspects_memory_when_a_step_was_killed(
    hook: LocalPipelinesHook, request_for: Callable[..., RunRequest]
) -> None:
    request = request_for(killed=True)
    hook.create_run(request)

    assert "memory ran out" in (wait(hook, request.run_id, is_over).reason or "")


def test_shows_how_far_a_step_is(hook: LocalPipelinesHook, request_for: Callable[..., RunRequest]) -> None:
    request = request_for(seconds=60)
    hook.create_run(request)

    assert wait(hook, request.run_id, is_asleep).steps[-1].progress == "sleeping 60.0 seconds"


def test_many_callers_start_one_run(
    connection: Connection, request_for: Callable[..., RunRequest], tmp_path: Path
) -> None:
    request = request_for()
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: LocalPipelinesHook("p", connection=connection).create_run(request), range(16)))
    hook = LocalPipelinesHook("p", connection=connection)
    wait(hook, request.run_id, is_over)
    again = hook.create_run(request)

    assert {run.run_id for run in runs} == {request.run_id}
    assert again.state is RunState.SUCCEEDED
    assert len(recorded(tmp_path)) == 1


def test_starts_a_run_that_was_claimed_but_never_started(
    hook: LocalPipelinesHook, request_for: Callable[..., RunRequest], tmp_path: Path
) -> None:
    request = request_for()
    folder = tmp_path / "runs" / request.run_id
    folder.mkdir(parents=True)
    for name in ("claim", "lock"):
        (folder / name).touch()
    (folder / "request.json").write_text(json.dumps({"parameters": {}, "display_name": "a test"}))

    before = hook.get_run(request.run_id)
    hook.create_run(request)
    after = wait(hook, request.run_id, is_over)

    assert before is not None
    assert before.state is RunState.PENDING
    assert after.state is RunState.SUCCEEDED
    assert len(recorded(tmp_path)) == 1


def test_adopts_a_process_whose_starter_died_before_it_could_note_it(
    hook: LocalPipelinesHook, request_for: Callable[..., RunRequest], tmp_path: Path
) -> None:
    request = request_for(seconds=1)
    hook.create_run(request)
    (tmp_path / "runs" / request.run_id / "pid").unlink()

    hook.create_run(request)

    assert wait(hook, request.run_id, is_over).state is RunState.SUCCEEDED
    assert len(recorded(tmp_path)) == 1


def test_a_run_that_was_killed_has_failed_and_is_not_started_again(
    hook: LocalPipelinesHook, request_for: Callable[..., RunRequest], tmp_path: Path
) -> None:
    request = request_for(seconds=60)
    hook.create_run(request)
    wait(hook, request.run_id, is_asleep)
    for process in processes(request.run_id):
        process.kill()

    run = wait(hook, request.run_id, is_over)

    assert run.state is RunState.FAILED
    assert "killed, memory ran out, or the machine restarted" in (run.reason or "")
    assert [step.state for step in run.steps] == [RunState.FAILED]
    assert hook.create_run(request) == run
    assert len(recorded(tmp_path)) == 1


def test_steps_do_not_outlive_their_run(hook: LocalPipelinesHook, request_for: Callable[..., RunRequest]) -> None:
    request = request_for(seconds=60)
    hook.create_run(request)
    wait(hook, request.run_id, is_asleep)
    runner(request.run_id).kill()

    run = wait(hook, request.run_id, is_over)

    assert run.state is RunState.FAILED
    assert processes(request.run_id) == []


@pytest.mark.long
def test_says_what_kept_a_process_from_beginning(
    connection: Connection, request_for: Callable[..., RunRequest], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    connection.extra = json.dumps(json.loads(connection.extra or "") | {"project_dir": str(tmp_path / "empty")})
    hook = LocalPipelinesHook("p", connection=connection)
    request = request_for()
    hook.create_run(request)

    run = wait(hook, request.run_id, is_over)

    assert run.state is RunState.FAILED
    assert "No module named 'include'" in (run.reason or "")


@pytest.mark.long
def test_a_run_outlives_the_process_group_that_started_it(
    hook: LocalPipelinesHook, connection: Connection, request_for: Callable[..., RunRequest]
) -> None:
    request = request_for(seconds=2)
    program = (
        "import sys, json, time\n"
        "from airflow.sdk import Connection\n"
        "from local_services.pipelines.hook import LocalPipelinesHook\n"
        "document, extra = json.loads(sys.argv[1]), sys.argv[2]\n"
        "connection = Connection(conn_id='p', conn_type='local_pipelines', extra=extra)\n"
        "LocalPipelinesHook('p', connection=connection).start_run(document)\n"
        "print('started', flush=True)\n"
        "time.sleep(60)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(hook.prepare_run(request).document), str(connection.extra)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert starter.stdout is not None
    while "started" not in starter.stdout.readline():
        assert starter.poll() is None
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()

    assert wait(hook, request.run_id, is_over).state is RunState.SUCCEEDED


def test_cancels_a_run_from_another_place(
    hook: LocalPipelinesHook, connection: Connection, request_for: Callable[..., RunRequest]
) -> None:
    request = request_for(seconds=60)
    hook.create_run(request)
    wait(hook, request.run_id, is_asleep)

    LocalPipelinesHook("p", connection=connection).terminate_run(request.run_id)

    run = hook.get_run(request.run_id)
    assert run is not None
    assert run.state is RunState.CANCELED
    assert [step.state for step in run.steps] == [RunState.CANCELED]
    assert run.reason is None
    assert processes(request.run_id) == []
    assert hook.create_run(request).state is RunState.CANCELED


def test_a_step_that_dies_of_the_cancel_has_not_failed(tmp_path: Path) -> None:
    # The run's process may write its account between the step's death and its own.
    folder = RunFolder(tmp_path / "one")
    folder.ask(RunRequest(run_id="one", pipeline=PipelineSpec(document={}), parameters={}, display_name="x"))
    account = {"state": "FAILED", "reason": "a step failed", "steps": [{"name": "train", "state": "FAILED"}]}
    (folder.path / "state.json").write_text(json.dumps(account))
    assert [step.state for step in folder.read(bury=None).steps] == [RunState.FAILED]

    folder.cancel()

    run = folder.read(bury=None)
    assert (run.state, run.reason, [step.state for step in run.steps]) == (
        RunState.CANCELED,
        None,
        [RunState.CANCELED],
    )


def test_cancelling_is_harmless_when_there_is_nothing_to_cancel(
    hook: LocalPipelinesHook, request_for: Callable[..., RunRequest]
) -> None:
    request = request_for()
    hook.terminate_run(request.run_id)
    hook.create_run(request)
    wait(hook, request.run_id, is_over)
    hook.terminate_run(request.run_id)

    run = hook.get_run(request.run_id)
    assert run is not None
    assert run.state is RunState.SUCCEEDED


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"text": "use python3 please"}, "Parameters mark contain 'python3'"),
        ({"python3": 1}, "Parameters mark contain 'python3'"),
        ({"deep": [{"er": None}]}, "Parameters mark hold a null"),
    ],
)
def test_refuses_parameters_that_kfp_would_change_or_refuse(
    hook: LocalPipelinesHook, request_for: Callable[..., RunRequest], value: object, message: str
) -> None:
    request = request_for(mark=value)

    with pytest.raises(InvalidRequestError, match=message):
        hook.create_run(request)
    assert hook.get_run(request.run_id) is None


def test_refuses_a_run_id_that_could_lead_elsewhere(hook: LocalPipelinesHook) -> None:
    with pytest.raises(InvalidRequestError, match="not a UUID"):
        hook.get_run("../../etc")


def test_names_every_field_that_is_wrong() -> None:
    connection = Connection(conn_id="p", conn_type="local_pipelines", extra='{"python": "bin/python"}')

    with pytest.raises(InvalidRequestError) as error:
        LocalPipelinesHook("p", connection=connection).get_run(str(uuid4()))

    for field in ("python", "project_dir", "runs_dir"):
        assert f"{field}: an absolute path is needed" in str(error.value)


def test_says_when_the_interpreter_is_missing(
    connection: Connection, request_for: Callable[..., RunRequest], tmp_path: Path
) -> None:
    connection.extra = json.dumps(json.loads(connection.extra or "") | {"python": "/nowhere/bin/python"})
    hook = LocalPipelinesHook("p", connection=connection)
    request = request_for()

    with pytest.raises(InvalidRequestError, match="/nowhere/bin/python cannot be started"):
        hook.create_run(request)
    assert hook.get_run(request.run_id).state is RunState.PENDING  # type: ignore[union-attr]
    assert hook.test_connection()[0] is False


def test_the_test_button_works(
    hook: LocalPipelinesHook, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_PIPELINES", json.dumps({"conn_type": "local_pipelines", "extra": connection.extra})
    )
    by_button = LocalPipelinesHook(**{LocalPipelinesHook.conn_name_attr: "pipelines"})

    works, message = by_button.test_connection()

    assert works, message
    assert message.startswith("KFP 2.")


@pytest.mark.long
def test_old_runs_make_room(
    hook: LocalPipelinesHook,
    request_for: Callable[..., RunRequest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local_pipelines, "KEEP_FINISHED_RUNS", 1)
    old = [request_for(), request_for()]
    for request in old:
        hook.create_run(request)
        wait(hook, request.run_id, is_over)
        # A process that can no longer be found may still have a thread that ends, and holds the lock.
        folder = RunFolder(hook.settings.runs_dir / request.run_id)
        wait_for(lambda folder=folder: not folder.is_alive, "its processes end")  # type: ignore[misc]

    asleep = request_for(seconds=60)
    hook.create_run(asleep)

    assert hook.get_run(old[0].run_id) is None
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {old[1].run_id, asleep.run_id}
