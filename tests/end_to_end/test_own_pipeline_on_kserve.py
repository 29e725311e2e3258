"""Models of pipelines that know nothing of releases, served by KServe in a cluster: from the trigger to put back.

The cluster is a double whose pods run the server of ``deploy/kserve/model-server.yaml`` for real; one example is asked
by V1 in Knative mode, in steps, the other one by V2 in Standard mode.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.hooks.kserve import KServeHook
from model_releases.registry.mlflow import MlflowHook
from tests.doubles.kubernetes import cluster
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.kserve_support import install_config
from tests.model_server_image import install_model_server
from tests.rights import SERVING, rights

ROOT = Path(__file__).parents[2]
IRIS, DIGITS = "iris", "digits"
SETOSA = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()

pytestmark = [pytest.mark.airflow, pytest.mark.pipelines, pytest.mark.processes, pytest.mark.long]


@pytest.fixture(params=["Knative", "Standard"])
def world(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    empty_mlflow: Path,
    pipelines_python: str,
    kserve_python: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[SimpleNamespace]:
    """Yield the serving hook and the registry; pipelines run on this machine, as in the embedded world."""
    (tmp_path / "models").mkdir()
    (tmp_path / "store").mkdir()
    extra = {"tracking_uri": f"sqlite:///{shutil.copy(empty_mlflow, tmp_path)}"}
    settings = KServeSettings(default_mode=request.param, version="0.20.0")
    with ExitStack() as stack:
        k8s = stack.enter_context(
            cluster(images={}, claims={"models": tmp_path / "store"}, namespace="team", kserve=settings, speed=2.0)
        )
        install_config(k8s, settings)
        install_model_server(k8s, kserve_python)
        k8s.faults.allow_only(rights(*SERVING))
        fields = {"namespace": "team", "kubernetes_conn_id": "cluster", "door": "gateway"}
        pipelines = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(tmp_path / "runs")}
        serving = {"conn_type": "kserve", "host": k8s.kserve.gateway_url, "extra": fields}
        for name, text in {
            "AIRFLOW_CONN_CLUSTER": k8s.connection_variable(tmp_path / "kubeconfig"),
            "AIRFLOW_CONN_PIPELINES_DEFAULT": json.dumps({"conn_type": "local_pipelines", "extra": pipelines}),
            "AIRFLOW_CONN_SERVING_DEFAULT": json.dumps(serving),
            "AIRFLOW_CONN_REGISTRY_DEFAULT": json.dumps({"conn_type": "mlflow", "extra": extra}),
            "MODELS_DIR": str(tmp_path / "models"),
            "MODEL_STORE": (tmp_path / "store").as_uri(),
        }.items():
            monkeypatch.setenv(name, text)
        registry = Connection(conn_id="registry_default", conn_type="mlflow", extra=json.dumps(extra))
        yield SimpleNamespace(
            folder=tmp_path,
            k8s=k8s,
            serving=KServeHook("serving_default"),
            registry=MlflowHook("registry_default", connection=registry),
        )


@pytest.fixture
def run(world: SimpleNamespace, run_dag: Callable[..., Any]) -> Callable[..., tuple[str, dict[str, str]]]:
    """Return ``run(file, model, changes, **conf)``, which runs a DAG of the project for an example's YAML."""

    def ended(file: str, model: str, changes: dict[str, Any] | None = None, **conf: Any) -> tuple[str, dict[str, str]]:
        from airflow.dag_processing.dagbag import DagBag

        settings = yaml.safe_load((ROOT / "examples" / model / f"{model}.yaml").read_text())
        # The whole difference between this machine and a cluster.
        del settings["connections"]
        settings["predictor"]["kserve"] = {"storage": {(world.folder / "store").as_uri(): "pvc://models"}}
        settings["smoke_test"]["max_latency_ms"] = 10_000
        settings["rollout"] = {"steps": [50], "watch_seconds": 3, "min_samples": 3, "max_latency_ratio": 50}
        (world.folder / "models" / f"{model}.yaml").write_text(yaml.safe_dump(settings | (changes or {})))
        bag = DagBag(str(ROOT / "dags" / file), safe_mode=False)
        assert bag.import_errors == {}
        (dag,) = bag.dags.values()
        dag_run = run_dag(dag, **conf)
        return dag_run.state, {task.task_id: task.state for task in dag_run.get_task_instances()}

    return ended


def answering(world: SimpleNamespace) -> tuple[Any, str | None]:
    """Return what users of the flowers are answered, and by which version."""
    answer = world.serving.predict(IRIS, SETOSA)
    return answer.body, answer.version


def newest(world: SimpleNamespace, model: str) -> Any:
    return world.registry.list_releases(model, limit=1)[0]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world", ["Knative"], indirect=True)
def test_from_the_trigger_to_put_back_in_steps(world: SimpleNamespace, run: Any) -> None:
    state, tasks = run("release_models.py", IRIS)
    assert (state, tasks["roll_back"], tasks["report"]) == ("success", "skipped", "success"), tasks
    first = newest(world, IRIS)
    assert first.state is ReleaseState.LIVE
    assert answering(world) == ({"predictions": [0]}, first.version)

    # One that answers otherwise than it should is undone before it has users.
    wrong = {"smoke_test": {"requests": [{"request": json.loads(SETOSA), "answer": {"predictions": [2]}}]}}
    state, tasks = run("release_models.py", IRIS, wrong)
    failed = newest(world, IRIS)
    assert (state, tasks["smoke_test"], tasks["roll_back"]) == ("failed", "failed", "success"), tasks
    assert "answer.predictions[0] within 1e-06 of what was recorded" in failed.reason
    assert world.serving.get_deployment(IRIS, failed.version) is None
    assert answering(world) == ({"predictions": [0]}, first.version)

    state, tasks = run("release_models.py", IRIS, seed=8)
    assert state == "success", tasks
    second = newest(world, IRIS)
    assert answering(world)[1] == second.version
    assert world.serving.get_previous(IRIS) == first.version
    changes = [
        json.loads(request.body).get("spec", {}).get("predictor", {})
        for request in world.k8s.server.requests
        if request.method == "PATCH" and request.path.endswith(f"/inferenceservices/{IRIS}")
    ]
    parts = [predictor["canaryTrafficPercent"] for predictor in changes if "canaryTrafficPercent" in predictor]
    assert 50 in parts, "it got half of the traffic before it got all of it"

    state, tasks = run("roll_back.py", IRIS, reason="the flowers have withered")
    assert state == "success", tasks
    assert answering(world) == ({"predictions": [0]}, first.version)
    states = {each.version: each.state for each in world.registry.list_releases(IRIS, limit=10)}
    assert (states[first.version], states[second.version]) == (ReleaseState.LIVE, ReleaseState.ROLLED_BACK)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world", ["Standard"], indirect=True)
def test_a_model_of_another_format_is_put_back_as_well(world: SimpleNamespace, run: Any) -> None:
    for seed in (7, 8):
        state, tasks = run("release_models.py", DIGITS, seed=seed)
        assert state == "success", tasks
    second, first = world.registry.list_releases(DIGITS, limit=2)
    nothing = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}]}
    answer = world.serving.predict(DIGITS, json.dumps(nothing).encode())
    assert (answer.version, answer.body["outputs"][0]["shape"]) == (second.version, [1, 10])

    state, tasks = run("roll_back.py", DIGITS, reason="a try")
    assert state == "success", tasks
    assert world.serving.predict(DIGITS, json.dumps(nothing).encode()).version == first.version
