"""What every pipeline service promises. Another service joins by adding its name to the fixture."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import Connection

from kubeflow_provider.pipeline_spec import bind
from kubeflow_provider.services import PipelineService, Run, RunRequest
from kubeflow_provider.states import RunState

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.pipelines


def local(tmp_path: Path, python: str) -> PipelineService:
    from kubeflow_provider.hooks.local_pipelines import LocalPipelinesHook

    extra = {"python": python, "project_dir": str(ROOT), "runs_dir": str(tmp_path / "runs")}
    connection = Connection(conn_id="pipelines", conn_type="local_pipelines", extra=json.dumps(extra))
    return LocalPipelinesHook("pipelines", connection=connection)


@pytest.fixture(params=[local])
def service(request: pytest.FixtureRequest, tmp_path: Path, pipelines_python: str) -> PipelineService:
    return request.param(tmp_path, pipelines_python)


@pytest.fixture
def ask(service: PipelineService, record_and_wait: str, tmp_path: Path) -> Iterator[Callable[..., RunRequest]]:
    """Return ``make(**parameters)`` for requests whose runs are stopped after the test."""
    ids: list[str] = []

    def make(**parameters: Any) -> RunRequest:
        ids.append(str(uuid4()))
        return RunRequest(
            run_id=ids[-1],
            pipeline_file=record_and_wait,
            parameters=bind(record_and_wait, {"file": str(tmp_path / "recorded"), **parameters}),
            display_name="a test",
            experiment="tests",
        )

    yield make
    for run_id in ids:
        service.terminate_run(run_id)


def wait(service: PipelineService, run_id: str, until: Callable[[Run], bool]) -> Run:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run = service.get_run(run_id)
        assert run is not None
        if until(run):
            return run
        assert not run.state.is_terminal, run
        time.sleep(0.1)
    raise AssertionError(f"the run stayed {run}")


def test_speaks_the_protocol(service: PipelineService) -> None:
    assert isinstance(service, PipelineService)
    works, message = service.test_connection()
    assert works, message


def test_a_run_goes_to_its_end(service: PipelineService, ask: Callable[..., RunRequest]) -> None:
    request = ask()

    assert service.create_run(request).run_id == request.run_id
    run = wait(service, request.run_id, lambda run: run.state.is_terminal)

    assert run.state is RunState.SUCCEEDED
    assert run.display_name == "a test"
    assert [step.name for step in run.steps] == ["record", "finish"]


def test_asking_twice_starts_one_run(service: PipelineService, ask: Callable[..., RunRequest], tmp_path: Path) -> None:
    request = ask()
    service.create_run(request)
    service.create_run(request)
    wait(service, request.run_id, lambda run: run.state.is_terminal)
    again = service.create_run(request)

    assert again.state is RunState.SUCCEEDED
    assert len((tmp_path / "recorded").read_text().splitlines()) == 1


def test_a_failure_names_its_step_and_shows_its_log(service: PipelineService, ask: Callable[..., RunRequest]) -> None:
    request = ask(fail=True)
    service.create_run(request)
    run = wait(service, request.run_id, lambda run: run.state.is_terminal)

    assert run.state is RunState.FAILED
    assert run.reason
    assert [step.name for step in run.steps if step.state is RunState.FAILED] == ["finish"]
    assert "column 'stars' is missing" in service.get_run_log(request.run_id)
    assert len(service.get_run_log(request.run_id, last_lines=1).splitlines()) == 1


def test_a_run_can_be_stopped(service: PipelineService, ask: Callable[..., RunRequest], tmp_path: Path) -> None:
    request = ask(seconds=60)
    service.create_run(request)
    wait(service, request.run_id, lambda run: (tmp_path / "recorded").exists())

    service.terminate_run(request.run_id)
    service.terminate_run(request.run_id)

    assert wait(service, request.run_id, lambda run: run.state.is_terminal).state is RunState.CANCELED


async def test_the_event_loop_can_ask_and_stop_too(service: PipelineService, ask: Callable[..., RunRequest]) -> None:
    request = ask(seconds=60)
    service.create_run(request)

    run = await service.aget_run(request.run_id)
    await service.aterminate_run(request.run_id)

    assert run is not None
    assert not run.state.is_terminal
    assert wait(service, request.run_id, lambda run: run.state.is_terminal).state is RunState.CANCELED


async def test_an_unknown_run_is_none_and_stopping_it_harmless(service: PipelineService) -> None:
    unknown = str(uuid4())

    service.terminate_run(unknown)
    await service.aterminate_run(unknown)

    assert service.get_run(unknown) is None
    assert await service.aget_run(unknown) is None
    assert service.get_run_log(unknown) == ""
