"""Whole release DAGs whose model is broken: users notice nothing, the record says why, and one alert arrives."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Connection

from include.contracts.registry_tags import ReleaseState
from model_releases import ids
from model_releases.operators.retention import RetentionOperator
from model_releases.registry.mlflow import MlflowHook
from tests.alert_listener import alert_listener
from tests.end_to_end.toy_world import USERS_TEXT, World, release_dag_of_toys
from tests.serving_support import MODEL, connection_json, torchserve
from tests.toy_package import TEXTS

ROOT = Path(__file__).parents[2]
# What is told here of whole releases, test_broken_candidates.py, test_every_write_fails.py and the tests of the steps
# tell each by itself.
pytestmark = [pytest.mark.airflow, pytest.mark.pipelines, pytest.mark.torchserve, pytest.mark.long]

LONG = pytest.mark.long

DEPLOYMENT = ["deploy_candidate", "smoke_test", "promote", "verify", "release"]


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path_factory.mktemp("models")
    patch.setenv("MODELS_DIR", str(folder))
    patch.setenv("ALLOWED_SOURCES", "*")  # a base model is the name of a defect here
    return release_dag_of_toys(folder)


@pytest.fixture(scope="module")
def world(
    dag: Any,
    run_dag: Callable[..., Any],
    empty_mlflow: Path,
    pipelines_python: str,
    tmp_path_factory: pytest.TempPathFactory,
    patch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """A world in which a sound release has gone live."""
    folder = tmp_path_factory.mktemp("world")
    extra = {"tracking_uri": f"sqlite:///{shutil.copy(empty_mlflow, folder)}"}
    pipelines = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(folder / "runs")}
    connection = Connection(conn_id="registry_default", conn_type="mlflow", extra=json.dumps(extra))
    with torchserve(pipelines_python, folder) as serving, alert_listener() as (listener, url):
        for name, text in {
            "PIPELINES": json.dumps({"conn_type": "local_pipelines", "extra": pipelines}),
            "SERVING": connection_json(serving.connection),
            "REGISTRY": json.dumps({"conn_type": "mlflow", "extra": extra}),
            "ALERTS": json.dumps({"conn_type": "apprise", "extra": {"config": {"path": url}}}),
        }.items():
            patch.setenv(f"AIRFLOW_CONN_{name}_DEFAULT", text)
        world = World(serving, MlflowHook("registry_default", connection=connection), listener.alerts)
        run = run_dag(dag)
        assert run.state == "success", states(run)
        live = world.serving.get_live(MODEL)
        assert live is not None
        assert world.record(live.version).state is ReleaseState.LIVE
        assert world.alerts == []
        world.live = live.version
        yield world


def states(run: Any) -> dict[str, str]:
    return {ti.task_id: ti.state for ti in run.get_task_instances()}


@pytest.fixture
def release(world: World, dag: Any, run_dag: Callable[..., Any]) -> Callable[[str], SimpleNamespace]:
    """Return ``release(defect)``: it releases a model with that defect while users ask, and checks what always holds.

    It gives back the ``states`` of the tasks, the ``version``, the ``body`` of the one alert and the ``users``.
    """

    def run_release(defect: str) -> SimpleNamespace:
        from model_releases.versions import asked_version

        world.alerts.clear()
        with world.users() as users:
            run = run_dag(dag, base_model=defect)
        version = asked_version(run)
        assert run.state == "failed"
        assert set(users.statuses) == {200}
        live = world.serving.get_live(MODEL)
        assert live is not None
        assert live.version == world.live
        assert world.serving.get_deployment(MODEL, version) is None
        (alert,) = world.alerts
        assert alert["title"] == f"WARNING: Release of {MODEL} {version} failed"
        assert not [text for text in (*TEXTS, USERS_TEXT) if text in json.dumps(alert)]
        return SimpleNamespace(states=states(run), version=version, body=alert["message"], users=users)

    return run_release


def versions(release: SimpleNamespace) -> set[str]:
    """Return who answered users during a release; the version that an answer names is that of the code that ran."""
    (predictions,) = release.users.predictions()
    assert [prediction["version"] for prediction in predictions] == [
        prediction["built_as"] for prediction in predictions
    ]
    return {prediction["version"] for prediction in predictions}


@pytest.mark.parametrize(
    ("defect", "check", "expected", "got"),
    [
        pytest.param(*case, id=case[0], marks=marks)
        for case, marks in (
            (("labels permuted", "golden examples in one request", "label good in row 1", "bad"), ()),
            # What finds these out is told step by step in test_broken_candidates.py.
            (("raises", "golden examples in one request", "HTTP 200", "HTTP 503 (InternalServerException)"), LONG),
            (("is slow", "latency", "a median of at most 900 ms", " ms"), LONG),
            (("accepts bad input", "bad input (not JSON)", "a 4xx status", "HTTP 200"), LONG),
        )
    ],
)
def test_a_broken_candidate_never_becomes_the_default(
    world: World, release: Callable[[str], SimpleNamespace], defect: str, check: str, expected: str, got: str
) -> None:
    broken = release(defect)
    assert versions(broken) == {world.live}, "the live version answers throughout"
    assert {task: broken.states[task] for task in DEPLOYMENT} == {
        "deploy_candidate": "success",
        "smoke_test": "failed",
        "promote": "upstream_failed",
        "verify": "upstream_failed",
        "release": "upstream_failed",
    }
    assert broken.states["roll_back"] == "success"
    record = world.record(broken.version)
    assert record.state is ReleaseState.FAILED
    assert f"{check}: expected {expected}" in record.reason
    said = alert_lines(broken.body)
    assert (said["Model"], said["Version"], said["Failed task"]) == (MODEL, broken.version, "smoke_test")
    assert (said["Failed check"], said["Expected"]) == (check, expected)
    assert said["Got"].endswith(got)
    assert world.live in said["Serving now"]


def test_a_version_that_breaks_in_use_gives_way(world: World, release: Callable[[str], SimpleNamespace]) -> None:
    broken = release("breaks in use")
    assert versions(broken) <= {world.live, broken.version}
    assert broken.users.predictions()[0][-1]["version"] == world.live
    assert broken.states["smoke_test"] == broken.states["promote"] == "success"
    assert broken.states["verify"] == "failed"
    assert broken.states["roll_back"] == "success"
    record = world.record(broken.version)
    assert record.state is ReleaseState.ROLLED_BACK
    assert "label good in row 1" in record.reason
    said = alert_lines(broken.body)
    assert said["Failed task"] == "verify"
    assert (said["Expected"], said["Got"]) == ("label good in row 1", "bad")
    assert world.live in said["Serving now"]


def test_a_pipeline_that_fails_deploys_nothing(world: World, release: Callable[[str], SimpleNamespace]) -> None:
    broken = release("pipeline fails")
    assert versions(broken) == {world.live}
    assert broken.states["train"] == "failed"
    assert {broken.states[task] for task in DEPLOYMENT} == {"upstream_failed"}
    assert broken.states["roll_back"] == "skipped"
    assert world.record(broken.version) is None
    said = alert_lines(broken.body)
    assert said["Failed task"] == "train"
    assert "the loss is not a number" in said["Reason"]
    assert world.live in said["Serving now"]


@pytest.fixture
def dying(dag: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Return ``dying(task_id)``: the task's process dies before its work, and at the next try after it."""

    def die(task_id: str) -> list[str]:
        task = dag.get_task(task_id)
        operator, deaths = type(task), ["before its work", "after its work"]
        execute = operator.execute

        def dies(self: Any, context: Any) -> Any:
            if self.task_id != task_id or not deaths:
                return execute(self, context)
            if deaths[0].startswith("after"):
                execute(self, context)
            raise ConnectionAbortedError(f"the worker is gone {deaths.pop(0)}")

        monkeypatch.setattr(operator, "execute", dies)
        monkeypatch.setattr(task, "retry_delay", timedelta(seconds=0))
        return deaths

    return die


def test_a_release_whose_every_task_dies_twice_ends_as_if_none_had(
    world: World, dag: Any, run_dag: Callable[..., Any], dying: Callable[[str], list[str]]
) -> None:
    from model_releases.versions import asked_version

    world.alerts.clear()
    tasks = ["gate", "register", *DEPLOYMENT]
    deaths = [dying(task_id) for task_id in tasks]
    with world.users() as users:
        run = run_dag(dag, base_model="sound")

    assert run.state == "success", states(run)
    assert not any(deaths), "each of them died before and after its work"
    version = asked_version(run)
    assert set(users.statuses) == {200}
    assert world.serving.get_live(MODEL).version == world.registry.get_live(MODEL).version == version
    assert [found.version for found in world.serving.status() if found.is_live] == [version]
    assert world.serving.get_previous(MODEL) == world.live
    assert world.record(world.live).state is ReleaseState.RETIRED
    assert world.alerts == []
    world.live = version


def test_a_roll_back_that_dies_twice_ends_as_if_it_had_not(
    world: World, release: Callable[[str], SimpleNamespace], dying: Callable[[str], list[str]]
) -> None:
    deaths = dying("roll_back")
    broken = release("breaks in use")
    assert deaths == []
    assert broken.states["roll_back"] == "success"
    assert world.registry.get_live(MODEL).version == world.live
    assert world.record(broken.version).state is ReleaseState.ROLLED_BACK
    assert world.record(world.live).state is ReleaseState.LIVE


@pytest.fixture
def roll_back(dag: Any, run_dag: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``roll_back(**conf)``, which runs the project's own DAG for it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(ROOT / "dags" / "roll_back.py"), safe_mode=False)
    assert bag.import_errors == {}
    return lambda **conf: run_dag(bag.dags[ids.roll_back_dag(MODEL)], **conf)


def clear(dag: Any, run: Any, *task_ids: str) -> dict[str, str]:
    """Run tasks of an old run again, as the scheduler does when a user clears them, and return how they ended."""
    from airflow.sdk import TaskInstanceState
    from airflow.sdk.definitions.dag import _run_task

    for task_id in task_ids:
        ti = run.get_task_instance(task_id)
        ti.set_state(TaskInstanceState.SCHEDULED)
        _run_task(ti=ti, task=dag.get_task(task_id), run_triggerer=True)
    return {task_id: states(run)[task_id] for task_id in task_ids}


def test_an_earlier_release_is_put_back_by_hand_and_stays(
    world: World, dag: Any, run_dag: Callable[..., Any], roll_back: Callable[..., Any]
) -> None:
    from model_releases.versions import asked_version

    world.alerts.clear()
    second_run = run_dag(dag, base_model="sound")
    second = asked_version(second_run)
    assert world.serving.get_live(MODEL).version == second
    with world.users() as users:
        run = roll_back(reason="the new one is rude")

    assert run.state == "success", states(run)
    assert set(users.statuses) == {200}
    (answers,) = users.predictions()
    assert answers[-1]["version"] == answers[-1]["built_as"] == world.live
    assert world.serving.get_live(MODEL).version == world.live
    back, gone = world.record(world.live), world.record(second)
    assert back.state is ReleaseState.LIVE
    assert back.reason.startswith("put back by ")
    assert gone.state is ReleaseState.ROLLED_BACK
    assert gone.reason.startswith(f"rolled back to {world.live} by ")
    assert gone.reason.endswith(": the new one is rude")
    assert gone.facts["rolled_back_by"] == back.facts["put_back_by"] == getpass.getuser()
    assert gone.facts["rolled_back_reason"] == back.facts["put_back_reason"] == "the new one is rude"
    assert world.alerts == []

    for task_id in ("register", "deploy_candidate", "promote"):
        assert clear(dag, second_run, task_id) == {task_id: "failed"}, "it does not come back through the back door"
    assert world.serving.get_live(MODEL).version == world.live
    assert (world.record(second).state, world.record(second).reason) == (gone.state, gone.reason)


def test_what_cannot_be_put_back_is_refused_without_a_fuss(world: World, roll_back: Callable[..., Any]) -> None:
    world.alerts.clear()
    run = roll_back(version=world.live)

    assert run.state == "failed"
    assert states(run)["check"] == "failed"
    assert states(run)["undo"] == "skipped", "nothing was touched"
    assert world.serving.get_live(MODEL).version == world.live
    (alert,) = world.alerts
    assert alert["title"] == f"WARNING: Roll back to {MODEL} {world.live} failed"
    assert "live already" in alert_lines(alert["message"])["Reason"]


def test_a_release_that_can_no_longer_be_put_back_changes_nothing(
    world: World, dag: Any, run_dag: Callable[..., Any], roll_back: Callable[..., Any], tmp_path: Path
) -> None:
    from model_releases.versions import asked_version

    second = asked_version(run_dag(dag, base_model="sound"))
    assert roll_back().state == "success"
    world.alerts.clear()
    world.serving.remove(MODEL, second)
    archive = Path(world.record(second).archive_uri.removeprefix("file://"), "model-store", f"{MODEL}.mar")
    content = archive.read_bytes()
    archive.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with world.users() as users:
        run = roll_back(version=second)

    assert run.state == "failed"
    assert states(run)["deploy_candidate"] == "failed"
    assert states(run)["undo"] == "success"
    assert set(users.statuses) == {200}
    assert versions(SimpleNamespace(users=users)) == {world.live}
    assert world.serving.get_live(MODEL).version == world.live
    assert world.record(world.live).state is ReleaseState.LIVE
    (alert,) = world.alerts
    assert alert["title"] == f"WARNING: Roll back to {MODEL} {second} failed"
    assert "SHA-256" in alert_lines(alert["message"])["Reason"]


def test_old_versions_go_and_users_and_the_way_back_do_not_notice(
    world: World,
    dag: Any,
    run_dag: Callable[..., Any],
    roll_back: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from model_releases.versions import asked_version

    broken = asked_version(run_dag(dag, base_model="pipeline fails"))
    second = asked_version(run_dag(dag, base_model="sound"))
    store = Path(world.record(second).archive_uri.removeprefix("file://")).parent
    assert {broken, world.live, second} <= {path.name for path in store.iterdir()}
    with DAG("keep_little", schedule=None) as retention:
        RetentionOperator(
            task_id=MODEL,
            model=MODEL,
            store_uri=store.as_uri(),
            policy={"keep_releases": 1, "keep_unreleased": 0, "grace_days": 1},
            delete=True,
            release_dag_id=dag.dag_id,
        )
    in_two_days = datetime.now(UTC) + timedelta(days=2)
    monkeypatch.setattr("model_releases.operators.retention.datetime", SimpleNamespace(now=lambda zone: in_two_days))
    with world.users() as users:
        assert run_dag(retention).state == "success"
        assert {path.name for path in store.iterdir()} == {world.live, second}
        assert roll_back().state == "success"
    assert set(users.statuses) == {200}
    assert world.serving.get_live(MODEL).version == world.live


def alert_lines(body: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in body.splitlines() if ": " in line)
