"""The cluster world, whole: preprocessing in a pod, training as a run of a KFP server, serving with KServe.

The servers are doubles that really run what they are given, so that the model is trained, packed, served by the
TorchServe of the project's own ServingRuntime, and asked through a gateway.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk import Connection

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.hooks.kserve import KServeHook
from model_releases import ids
from model_releases.registry.mlflow import MlflowHook
from model_releases.versions import asked_version
from tests.alert_listener import alert_listener
from tests.doubles.kfp_server import kfp_server
from tests.doubles.kubernetes import Image, cluster
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.kserve_support import install_config
from tests.serving_image import install_runtime

ROOT = Path(__file__).parents[2]
MODEL, IMAGE = "sample-reviews", "example/release:1"
# A whole release more: test_release.py has one, and tests/contract, tests/kubeflow_provider and running_airflow/ tell
# what is otherwise on Kubeflow and KServe.
pytestmark = [pytest.mark.airflow, pytest.mark.pipelines, pytest.mark.torchserve, pytest.mark.long]


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The project's own DAGs for the sample model, with what a cluster needs to know in its YAML."""
    from airflow.dag_processing.dagbag import DagBag

    settings = yaml.safe_load((ROOT / "include" / "models" / f"{MODEL}.yaml").read_text())
    settings["store"] = (tmp_path / "store").as_uri()
    settings["cluster"] = {"image": IMAGE, "steps": {"train": {"retries": 1}}}
    settings["serving"] = {"kserve": {"storage": {settings["store"]: "pvc://models"}, "protocol": "v2"}}
    settings["rollout"] = {"steps": [50], "watch_seconds": 3, "min_samples": 5, "max_latency_ratio": 20}
    settings["smoke_test"] = {"max_latency_ms": 10_000}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    bag = DagBag(str(ROOT / "dags"), safe_mode=False)
    assert bag.import_errors == {}
    return bag.dags


@pytest.fixture
def world(
    tmp_path: Path, empty_mlflow: Path, pipelines_python: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimpleNamespace]:
    """Yield the doubles and the services behind the DAG's connections."""
    extra = {"tracking_uri": f"sqlite:///{shutil.copy(empty_mlflow, tmp_path)}"}
    connection = Connection(conn_id="registry_default", conn_type="mlflow", extra=json.dumps(extra))
    with ExitStack() as stack:
        kubeflow = stack.enter_context(kfp_server(python=pipelines_python, multi_user=True))
        serving = KServeSettings(default_mode="Knative", version="0.20.0")
        k8s = stack.enter_context(
            cluster(
                images={IMAGE: Image(Path(pipelines_python).parent)},
                claims={"models": tmp_path / "store"},
                namespace="team",
                kserve=serving,
                speed=2.0,
            )
        )
        install_config(k8s, serving)
        install_runtime(k8s, pipelines_python)
        listener, url = stack.enter_context(alert_listener())
        pipelines = {
            "conn_type": "kubeflow_pipelines",
            "host": kubeflow.url,
            "extra": {
                "namespace": "team",
                "user_id_header": "kubeflow-userid",
                "user_id": "airflow@example.com",
                "ui_url": "https://kubeflow.example.com/pipeline",
                "kubernetes_conn_id": "cluster",
            },
        }
        kserve = {
            "conn_type": "kserve",
            "host": k8s.kserve.gateway_url,
            "extra": {"namespace": "team", "kubernetes_conn_id": "cluster", "door": "gateway"},
        }
        for name, text in {
            "CLUSTER": k8s.connection_variable(tmp_path / "kubeconfig"),
            "PIPELINES_DEFAULT": json.dumps(pipelines),
            "SERVING_DEFAULT": json.dumps(kserve),
            "REGISTRY_DEFAULT": json.dumps({"conn_type": "mlflow", "extra": extra}),
            "ALERTS_DEFAULT": json.dumps({"conn_type": "apprise", "extra": {"config": {"path": url}}}),
        }.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", text)
        registry = MlflowHook("registry_default", connection=connection)
        yield SimpleNamespace(
            kubeflow=kubeflow, k8s=k8s, serving=KServeHook("serving_default"), registry=registry, alerts=listener.alerts
        )


def states(run: Any) -> dict[str, str]:
    return {task.task_id: task.state for task in run.get_task_instances()}


def answering(world: SimpleNamespace) -> str:
    answer = world.serving.predict(MODEL, json.dumps({"instances": ["a wonderful place"]}).encode())
    assert answer.status_code == 200
    return str(answer.body["predictions"][0]["version"])


def test_a_first_release_goes_live(world: SimpleNamespace, dags: Any, run_dag: Any, xcom: Any) -> None:
    run = run_dag(dags["release_sample_reviews"])

    assert run.state == "success", states(run)
    first = asked_version(run)
    assert answering(world) == world.serving.get_live(MODEL).version == first
    assert world.registry.get_release(MODEL, first).state is ReleaseState.LIVE
    (row,) = world.kubeflow.runs.values()
    assert row.run_id == xcom(run, "train") == world.kubeflow.workflows[0].run_id
    assert (row.state, row.namespace) == ("SUCCEEDED", "team")
    assert row.display_name.startswith(f"{MODEL} {first}")
    assert xcom(run, "train", "run_url").endswith(f"/#/runs/details/{row.run_id}")
    executors = world.kubeflow.workflows[0].documents[0]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {IMAGE}
    assert world.alerts == []


def test_a_second_goes_live_in_steps_and_there_is_a_way_back(world: SimpleNamespace, dags: Any, run_dag: Any) -> None:
    release = dags["release_sample_reviews"]
    first = asked_version(run_dag(release))

    run = run_dag(release, seed=7)

    assert run.state == "success", states(run)
    second = asked_version(run)
    assert answering(world) == second
    assert world.serving.get_previous(MODEL) == first
    predictors = [
        json.loads(request.body).get("spec", {}).get("predictor", {})
        for request in world.k8s.server.requests
        if request.method == "PATCH" and request.path.endswith(f"/inferenceservices/{MODEL}")
    ]
    parts = [predictor["canaryTrafficPercent"] for predictor in predictors if "canaryTrafficPercent" in predictor]
    assert parts[:2] == [50, None], "it got half of the traffic before it got all of it"

    run = run_dag(dags[ids.roll_back_dag(MODEL)], reason="a try")

    assert run.state == "success", states(run)
    assert answering(world) == first
    assert world.registry.get_release(MODEL, first).state is ReleaseState.LIVE
    assert world.registry.get_release(MODEL, second).state is ReleaseState.ROLLED_BACK
    assert world.alerts == []
