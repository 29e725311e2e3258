"""Models of pipelines that know nothing of releases: from the trigger to put back, each by one YAML."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from local_services.kserve_server.hook import LocalKServeHook
from model_releases.registry.mlflow import MlflowHook
from tests.local_kserve_support import connection as kserve_connection
from tests.serving_support import connection_json

ROOT = Path(__file__).parents[2]
MODEL, DIGITS = "iris", "digits"
SETOSA = {"instances": [[5.1, 3.5, 1.4, 0.2]]}

pytestmark = [pytest.mark.airflow, pytest.mark.pipelines, pytest.mark.processes, pytest.mark.long]


class World:
    """The embedded world in this process: local pipelines, KServe's own server, MLflow on SQLite."""

    def __init__(self, folder: Path, serving: LocalKServeHook, registry: MlflowHook, run_dag: Any) -> None:
        self.models = folder / "models"
        self.serving = serving
        self.registry = registry
        self._run_dag = run_dag

    def dag(self, file: str, model: str, **changes: Any) -> Any:
        """Return the DAG that the project's file makes of an example's YAML."""
        from airflow.dag_processing.dagbag import DagBag

        settings = yaml.safe_load((ROOT / "examples" / model / f"{model}.yaml").read_text()) | changes
        (self.models / f"{model}.yaml").write_text(yaml.safe_dump(settings))
        bag = DagBag(str(ROOT / "dags" / file), safe_mode=False)
        assert bag.import_errors == {}
        (dag,) = bag.dags.values()
        return dag

    def release(
        self, model: str = MODEL, *, settings: dict[str, Any] | None = None, **conf: Any
    ) -> tuple[str, dict[str, str]]:
        """Release a model; return the state of the run and those of its tasks."""
        return self._ended(self.dag("release_models.py", model, **(settings or {})), **conf)

    def put_back(self, **conf: Any) -> tuple[str, dict[str, str]]:
        """Put an earlier version back."""
        return self._ended(self.dag("roll_back.py", MODEL), **conf)

    def answering(self) -> tuple[Any, str]:
        """Return what users are answered, and by which version."""
        answer = httpx.post(self.serving.endpoint_url(MODEL), json=SETOSA, trust_env=False)
        return answer.json(), answer.headers["X-Model-Version"]

    def newest(self, model: str = MODEL) -> Any:
        return self.registry.list_releases(model, limit=1)[0]

    def _ended(self, dag: Any, **conf: Any) -> tuple[str, dict[str, str]]:
        run = self._run_dag(dag, **conf)
        return run.state, {ti.task_id: ti.state for ti in run.get_task_instances()}


@pytest.fixture
def world(
    tmp_path: Path,
    run_dag: Callable[..., Any],
    empty_mlflow: Path,
    pipelines_python: str,
    kserve_python: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    (tmp_path / "models").mkdir()
    extra = {"tracking_uri": f"sqlite:///{shutil.copy(empty_mlflow, tmp_path)}"}
    pipelines = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(tmp_path / "runs")}
    serving = kserve_connection(kserve_python, tmp_path / "kserve")
    for name, text in {
        "AIRFLOW_CONN_PIPELINES_DEFAULT": json.dumps({"conn_type": "local_pipelines", "extra": pipelines}),
        "AIRFLOW_CONN_LOCAL_KSERVE_DEFAULT": connection_json(serving),
        "AIRFLOW_CONN_REGISTRY_DEFAULT": json.dumps({"conn_type": "mlflow", "extra": extra}),
        "MODELS_DIR": str(tmp_path / "models"),
        "MODEL_STORE": (tmp_path / "store").as_uri(),
    }.items():
        monkeypatch.setenv(name, text)
    registry = Connection(conn_id="registry_default", conn_type="mlflow", extra=json.dumps(extra))
    hook = LocalKServeHook(serving.conn_id, connection=serving)
    yield World(tmp_path, hook, MlflowHook("registry_default", connection=registry), run_dag)
    hook.stop()


@pytest.mark.timeout(1800)
def test_from_the_trigger_to_put_back(world: World, tmp_path: Path) -> None:
    state, tasks = world.release()
    assert (state, tasks["roll_back"], tasks["report"]) == ("success", "skipped", "success"), tasks
    first = world.newest()
    assert first.state is ReleaseState.LIVE
    assert first.facts["gate"].startswith("accepted: accuracy 0.")
    assert world.answering() == ({"predictions": [0]}, first.version)
    document = json.loads((tmp_path / "store" / MODEL / first.version / "candidate.json").read_text())
    assert document["made_by"]["parameters"] == {"regularization": 1.0, "seed": 7}
    assert first.facts["archive_sha256"] == document["archive"]["sha256"]

    # A model that has learnt next to nothing is an outcome, and no error; users notice nothing.
    state, tasks = world.release(regularization=1e-6)
    rejected = world.newest()
    assert (state, tasks["gate"], tasks["deploy_candidate"]) == ("success", "success", "skipped"), tasks
    assert rejected.state is ReleaseState.REJECTED
    assert "log_loss" in rejected.reason
    assert f"live {first.facts['metric.candidate.accuracy'][:4]}" in rejected.facts["gate"]
    assert world.answering()[1] == first.version

    # One that answers otherwise than it should is undone, and the version before it is proven to answer.
    wrong = {"requests": [{"request": SETOSA, "answer": {"predictions": [2]}}]}
    state, tasks = world.release(settings={"smoke_test": wrong})
    failed = world.newest()
    assert (state, tasks["smoke_test"], tasks["roll_back"]) == ("failed", "failed", "success"), tasks
    assert failed.state is ReleaseState.FAILED
    assert "answer.predictions[0] within 1e-06 of what was recorded" in failed.reason
    assert world.serving.get_deployment(MODEL, failed.version) is None
    assert world.answering() == ({"predictions": [0]}, first.version)

    state, tasks = world.release(seed=8)
    second = world.newest()
    assert state == "success", tasks
    assert second.facts["archive_sha256"] != first.facts["archive_sha256"]
    assert world.answering() == ({"predictions": [0]}, second.version)

    # Its own files, format and requests come back with it.
    state, tasks = world.put_back(reason="the flowers have withered")
    assert state == "success", tasks
    assert world.answering() == ({"predictions": [0]}, first.version)
    states = {each.version: each.state for each in world.registry.list_releases(MODEL, limit=10)}
    assert states[first.version] is ReleaseState.LIVE
    assert states[second.version] is ReleaseState.ROLLED_BACK


def test_a_model_of_another_format_needs_another_yaml_and_nothing_else(world: World) -> None:
    state, tasks = world.release(DIGITS)
    assert state == "success", tasks
    live = world.newest(DIGITS)
    assert live.state is ReleaseState.LIVE
    assert (live.facts["main_metrics"], float(live.facts["metric.candidate.accuracy"]) > 0.93) == (
        "accuracy:higher,wrong:lower",
        True,
    )
    request = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}]}
    answer = httpx.post(world.serving.endpoint_url(DIGITS), json=request, trust_env=False).json()
    assert (answer["model_version"], answer["outputs"][0]["shape"]) == (live.version, [1, 10])
