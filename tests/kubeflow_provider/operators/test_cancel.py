from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.airflow_id import AIRFLOW_ID
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from kubeflow_provider.operators import cancel
from kubeflow_provider.operators._runs.marks import RunMark
from kubeflow_provider.operators.cancel import CancelOrphanedRunsOperator, CancelPipelineRunOperator
from kubeflow_provider.services import Run
from kubeflow_provider.states import RunState

HERE, THERE = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
MARK = RunMark(dag_id="d", dag_run_id="r", task_id="train", map_index=-1, life="12345678", asked_for="abcdef12")
OLD = timedelta(hours=1)


class Service:
    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.terminated: list[str] = []
        self.refused: set[str] = set()

    def add(
        self, run_id: str, mark: RunMark | None, *, age: timedelta = OLD, state: str = "RUNNING", airflow: str = HERE
    ) -> None:
        self.runs[run_id] = Run(
            run_id=run_id,
            state=RunState(state),
            description=mark.description(airflow) if mark else "by hand",
            created_at=datetime.now(tz=UTC) - age,
        )

    def get_run(self, run_id: str) -> Run | None:
        return self.runs.get(run_id)

    def find_runs(self, text: str) -> list[Run]:
        return [run for run in self.runs.values() if text in run.description and run.state.goes_on]

    def terminate_run(self, run_id: str) -> None:
        if run_id in self.refused:
            raise ServiceUnavailableError("503")
        self.terminated.append(run_id)


class Airflow:
    """Task states by key, and XComs by task and map index."""

    def __init__(self) -> None:
        self.states: dict[str, str | None] = {}
        self.xcom: dict[tuple[str, int], str] = {}

    def get_task_states(
        self, *, dag_id: str, task_ids: list[str], run_ids: list[str], map_index: int
    ) -> dict[str, dict[str, str | None]]:
        assert (dag_id, run_ids) == ("d", ["r"])
        return {"r": self.states} if self.states else {}

    def get_one(self, *, key: str, dag_id: str, task_id: str, run_id: str, map_index: int) -> str | None:
        assert (key, dag_id, run_id) == ("run_id", "d", "r")
        return self.xcom.get((task_id, map_index))

    def get_all(self, *, key: str, dag_id: str, task_id: str, run_id: str) -> list[str]:
        assert (key, dag_id, run_id) == ("run_id", "d", "r")
        return [run_id for (task, _), run_id in self.xcom.items() if task == task_id]

    @property
    def context(self) -> Any:
        return {"ti": SimpleNamespace(dag_id="d", run_id="r", get_task_states=self.get_task_states)}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()
    monkeypatch.setattr(cancel, "get_pipeline_service", lambda conn_id: service)
    monkeypatch.setenv(f"AIRFLOW_VAR_{AIRFLOW_ID.upper()}", HERE)
    return service


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr(cancel.XCom, "get_one", airflow.get_one)
    monkeypatch.setattr(cancel.XCom, "get_all", airflow.get_all)
    return airflow


@pytest.fixture
def sweep(service: Service, airflow: Airflow) -> Callable[..., list[str]]:
    return lambda **arguments: CancelOrphanedRunsOperator(task_id="sweep", **arguments).execute(airflow.context)


@pytest.mark.parametrize(
    ("state", "is_orphaned"),
    [
        *[(state, True) for state in ("failed", "success", "skipped", "upstream_failed", "removed")],
        *[(state, False) for state in ("running", "deferred", "queued", "scheduled", "up_for_retry", "restarting")],
        (None, False),
    ],
)
def test_a_run_is_orphaned_when_its_task_is_over(
    service: Service, airflow: Airflow, sweep: Any, state: str | None, is_orphaned: bool
) -> None:
    service.add("a", MARK)
    airflow.states = {"train": state}

    assert sweep() == service.terminated == (["a"] if is_orphaned else [])


def test_a_run_whose_dag_run_was_deleted_is_orphaned(service: Service, sweep: Any) -> None:
    service.add("a", MARK)

    assert sweep() == service.terminated == ["a"]


@pytest.mark.parametrize(
    ("xcom", "is_orphaned"), [(None, False), ("a", False), ("abcdef12-3456", False), ("another", True)]
)
def test_a_run_is_orphaned_when_its_task_waits_for_another(
    service: Service, airflow: Airflow, sweep: Any, xcom: str | None, is_orphaned: bool
) -> None:
    service.add("a", MARK)
    airflow.states = {"train": "deferred"}
    if xcom:
        airflow.xcom["train", -1] = xcom

    assert sweep() == service.terminated == (["a"] if is_orphaned else [])


def test_a_mapped_task_is_asked_for_by_its_index(service: Service, airflow: Airflow, sweep: Any) -> None:
    for index in (0, 1):
        service.add(f"run of {index}", replace(MARK, map_index=index))
    airflow.states = {"train_0": "failed", "train_1": "deferred"}

    assert sweep() == service.terminated == ["run of 0"]


@pytest.mark.parametrize(
    ("mark", "facts"),
    [
        (None, {}),
        (MARK, {"airflow": THERE}),
        (replace(MARK, is_waited_for=False), {}),
        (replace(MARK, dag_id="d" * 250), {}),
        (MARK, {"age": timedelta(minutes=29)}),
        (MARK, {"state": "CANCELING"}),
        (MARK, {"state": "SUCCEEDED"}),
    ],
    ids=["by hand", "another Airflow's", "nobody was to wait", "long names", "young", "being cancelled", "over"],
)
def test_what_is_no_orphan_of_this_airflow_is_left_alone(
    service: Service, airflow: Airflow, sweep: Any, mark: RunMark | None, facts: dict[str, Any]
) -> None:
    service.add("a", mark, **facts)
    airflow.states = {"train": "failed"}

    assert sweep() == service.terminated == []


@pytest.mark.parametrize("wanted", [False, "False", "false"])
def test_without_being_wanted_to_cancel_it_only_tells(
    service: Service, sweep: Any, wanted: bool | str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.add("a", MARK)

    assert sweep(cancel=wanted) == ["a"]
    assert service.terminated == []
    said = capsys.readouterr().out
    assert "Pipeline run a (task train of DAG d, run r) would be cancelled: its task is gone." in said


def test_one_that_cannot_be_cancelled_keeps_no_other_from_it(service: Service, sweep: Any) -> None:
    service.add("a", MARK)
    service.add("b", MARK)
    service.refused = {"a"}

    with pytest.raises(ServiceUnavailableError, match="a: 503"):
        sweep(cancel="True")
    assert service.terminated == ["b"]


def test_without_an_id_of_this_airflow_nothing_is_an_orphan(
    service: Service, sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.add("a", MARK)
    monkeypatch.setattr(cancel, "airflow_id", lambda: None)

    assert sweep() == service.terminated == []


@pytest.mark.parametrize("tasks", ["train", ["other", "train"]])
def test_a_teardown_cancels_what_its_tasks_have_left_going(
    service: Service, airflow: Airflow, tasks: str | list[str]
) -> None:
    service.add("told", None)
    service.add("marked", MARK, age=timedelta())
    service.add("mapped", replace(MARK, map_index=7))
    service.add("over", None, state="SUCCEEDED")
    service.add("another task's", replace(MARK, task_id="evaluate"))
    service.add("another run's", replace(MARK, dag_run_id="r2"))
    airflow.xcom |= {("train", 0): "told", ("train", 1): "over", ("train", 2): "gone", ("train", 3): "marked"}
    teardown = CancelPipelineRunOperator(task_id="cancel", tasks=tasks)

    assert teardown.execute(airflow.context) == service.terminated
    assert sorted(service.terminated) == ["mapped", "marked", "told"]


@pytest.mark.parametrize("state", ["RUNNING", "SUCCEEDED", None])
def test_a_run_of_anybodys_is_cancelled_by_its_id(service: Service, airflow: Airflow, state: str | None) -> None:
    if state:
        service.add("theirs", None, state=state)
    cancelled = CancelPipelineRunOperator(task_id="cancel", run_id="theirs").execute(airflow.context)

    assert cancelled == service.terminated == (["theirs"] if state == "RUNNING" else [])


def test_what_is_cancelled_is_said_once(airflow: Airflow, service: Service) -> None:
    for arguments in ({}, {"tasks": "train", "run_id": "theirs"}):
        with pytest.raises(ValueError, match="exactly one of tasks and run_id"):
            CancelPipelineRunOperator(task_id="cancel", **arguments)
    with pytest.raises(InvalidRequestError, match="its template has found no run"):
        CancelPipelineRunOperator(task_id="cancel", run_id="None").execute(airflow.context)
