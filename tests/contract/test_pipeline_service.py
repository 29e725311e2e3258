"""What every pipeline service promises. Another service joins by adding its name to the fixture."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import Connection

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.pipelines.spec import bind
from kubeflow_provider.services import PipelineService, Run, RunRequest
from kubeflow_provider.states import RunState
from tests.captured import versions
from tests.doubles.kfp_server import kfp_server
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
ENDPOINT = os.environ.get("KFP_ENDPOINT")
#: Image of the steps on a real server: any that has the `kfp` package of the compiled pipelines.
CLUSTER = {"image": os.environ["KFP_IMAGE"]} if os.environ.get("KFP_IMAGE") else {}
pytestmark = pytest.mark.pipelines


@contextmanager
def local(tmp_path: Path, python: str) -> Iterator[PipelineService]:
    from local_services.pipelines.hook import LocalPipelinesHook

    extra = {"python": python, "project_dir": str(ROOT), "runs_dir": str(tmp_path / "runs")}
    connection = Connection(conn_id="pipelines", conn_type="local_pipelines", extra=json.dumps(extra))
    yield LocalPipelinesHook("pipelines", connection=connection)


def kubeflow(host: str, *, token: str | None = None, **extra: Any) -> PipelineService:
    from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook

    connection = Connection(
        conn_id="pipelines", conn_type="kubeflow_pipelines", host=host, password=token, extra=json.dumps(extra)
    )
    return KubeflowPipelinesHook("pipelines", connection=connection)


@contextmanager
def kubeflow_2_16(tmp_path: Path, python: str) -> Iterator[PipelineService]:
    """A stand-alone server, whose logs only the UI can show; each step has one row."""
    with kfp_server(python=python, version="2.16.1") as server:
        yield kubeflow(server.url, ui_url=server.url)


@contextmanager
def platform(tmp_path: Path, python: str, *, version: str) -> Iterator[PipelineService]:
    """A platform with profiles, of a version whose answers were recorded."""
    with kfp_server(python=python, version=version, multi_user=True, token="a token", prefix="/pipeline") as server:
        yield kubeflow(server.url, token="a token", namespace="team", dashboard=True)


@contextmanager
def kubeflow_for_real(tmp_path: Path, python: str) -> Iterator[PipelineService]:
    """The server that the environment names."""
    names = {"namespace": "KFP_NAMESPACE", "kubernetes_conn_id": "KFP_KUBERNETES_CONN_ID", "ui_url": "KFP_UI_URL"}
    extra = {name: os.environ[variable] for name, variable in names.items() if os.environ.get(variable)}
    yield kubeflow(str(ENDPOINT), token=os.environ.get("KFP_TOKEN"), **extra)


#: Of the versions, the newest stands in `make test` for the others.
platforms = [
    pytest.param(partial(platform, version=name), id=name, marks=[pytest.mark.long] if older else [])
    for older, name in enumerate(reversed(versions("kubeflow_pipelines")))
]
real = pytest.param(kubeflow_for_real, marks=pytest.mark.skipif(not ENDPOINT, reason="KFP_ENDPOINT names no server"))


@pytest.fixture(params=[local, kubeflow_2_16, *platforms, real])
def service(request: pytest.FixtureRequest, tmp_path: Path, pipelines_python: str) -> Iterator[PipelineService]:
    with request.param(tmp_path, pipelines_python) as service:
        yield service


@pytest.fixture
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return the file to which a run's first step adds a line; on a real server it is the pod's own, and unseen."""
    return Path("/tmp/recorded") if _is_real(request) else tmp_path / "recorded"


def _is_real(request: pytest.FixtureRequest) -> bool:
    return request.node.callspec.params["service"] is kubeflow_for_real


@pytest.fixture
def ask(service: PipelineService, record_and_wait: str, recorded: Path) -> Iterator[Callable[..., RunRequest]]:
    """Return ``make(**parameters)`` for requests whose runs are stopped after the test."""
    ids: list[str] = []

    def make(**parameters: Any) -> RunRequest:
        ids.append(str(uuid4()))
        pipeline = read_pipeline_spec(record_and_wait)
        return RunRequest(
            run_id=ids[-1],
            pipeline=pipeline,
            parameters=bind(pipeline, {"file": str(recorded), **parameters}),
            display_name="a test",
            experiment="tests",
            cluster=CLUSTER,
        )

    yield make
    for run_id in ids:
        service.terminate_run(run_id)


def wait(service: PipelineService, run_id: str, until: Callable[[Run], bool]) -> Run:
    seen: list[Run] = []

    def is_there() -> bool:
        run = service.get_run(run_id)
        assert run is not None
        seen[:] = [run]
        assert until(run) or not run.state.is_terminal, run
        return until(run)

    wait_for(is_there, lambda: f"more than {seen}")
    return seen[0]


def test_speaks_the_protocol(service: PipelineService) -> None:
    assert isinstance(service, PipelineService)
    works, message = service.test_connection()
    assert works, message


def test_what_can_be_started_is_said_beforehand(service: PipelineService, ask: Callable[..., RunRequest]) -> None:
    request = ask()

    service.check_run(request)

    assert service.get_run(request.run_id) is None
    with pytest.raises(InvalidRequestError, match="not-there"):
        service.find_pipeline("not-there")


def test_a_run_goes_to_its_end(service: PipelineService, ask: Callable[..., RunRequest]) -> None:
    request = ask()

    assert service.create_run(request).run_id == request.run_id
    run = wait(service, request.run_id, lambda run: run.state.is_terminal)

    assert run.state is RunState.SUCCEEDED
    assert run.display_name == "a test"
    assert [step.name for step in run.steps] == ["record", "finish"]


def test_asking_twice_starts_one_run(
    service: PipelineService,
    ask: Callable[..., RunRequest],
    recorded: Path,
    request: pytest.FixtureRequest,
) -> None:
    asked = ask()
    service.create_run(asked)
    service.create_run(asked)
    wait(service, asked.run_id, lambda run: run.state.is_terminal)
    again = service.create_run(asked)

    assert again.state is RunState.SUCCEEDED
    if not _is_real(request):
        assert len(recorded.read_text().splitlines()) == 1


def test_a_failure_names_its_step_and_shows_its_log(service: PipelineService, ask: Callable[..., RunRequest]) -> None:
    request = ask(fail=True)
    service.create_run(request)
    run = wait(service, request.run_id, lambda run: run.state.is_terminal)

    assert run.state is RunState.FAILED
    assert "column 'stars' is missing" in str(run.reason)
    assert [(step.name, step.state.value) for step in run.steps] == [("record", "SUCCEEDED"), ("finish", "FAILED")]
    assert "column 'stars' is missing" in service.get_run_log(request.run_id)
    assert len(service.get_run_log(request.run_id, last_lines=1).splitlines()) == 1


def test_a_run_can_be_stopped(service: PipelineService, ask: Callable[..., RunRequest]) -> None:
    request = ask(seconds=60)
    service.create_run(request)
    wait(service, request.run_id, lambda run: bool(run.steps))

    service.terminate_run(request.run_id)
    service.terminate_run(request.run_id)

    assert wait(service, request.run_id, lambda run: run.state.is_terminal).state is RunState.CANCELED


def test_a_run_can_be_prepared_here_and_started_there(
    service: PipelineService, ask: Callable[..., RunRequest], recorded: Path, request: pytest.FixtureRequest
) -> None:
    asked = ask()
    prepared = service.prepare_run(asked)
    assert service.prepare_run(asked).run_id == prepared.run_id == asked.run_id
    assert service.get_run(asked.run_id) is None, "nothing is started yet"

    for _ in range(2):
        run = service.start_run(json.loads(json.dumps(prepared.document)))
    assert (run.run_id, run.url, run.experiment_url) == (asked.run_id, prepared.url, prepared.experiment_url)
    wait(service, asked.run_id, lambda run: run.state is RunState.SUCCEEDED)
    if not _is_real(request):
        assert len(recorded.read_text().splitlines()) == 1


def test_a_run_is_found_by_its_description_while_it_goes_on(
    service: PipelineService, ask: Callable[..., RunRequest]
) -> None:
    text = f"[task {uuid4()} "
    first, second = (replace(ask(seconds=60), description=f"For people.\n{text}{number}]\n{{}}") for number in (1, 2))
    other = replace(ask(seconds=60), description=f"[task {uuid4()} 1]")
    for asked in (first, other, second):
        service.create_run(asked)

    found = service.find_runs(text)
    assert {run.run_id for run in found} == {first.run_id, second.run_id}
    assert {run.description for run in found} == {first.description, second.description}
    assert all(run.created_at and run.created_at.tzinfo for run in found)
    assert [run.run_id for run in service.find_runs(f"{text}1]")] == [first.run_id]

    service.terminate_run(first.run_id)
    assert [run.run_id for run in service.find_runs(text)] == [second.run_id]


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
