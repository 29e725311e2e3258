"""The release of the sample model with Kubeflow in it: preprocessing in a pod, training as a run of a KFP server.

Both servers are doubles that really run what they are given, so that the model is trained, packed, served and asked.
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

from kubeflow_provider import notifications
from kubeflow_provider.hooks.mlflow import MlflowHook
from kubeflow_provider.states import ReleaseState
from kubeflow_provider.versions import release_version
from tests.alert_listener import alert_listener
from tests.doubles.kfp_server import kfp_server
from tests.doubles.kubernetes import Image, cluster
from tests.serving_support import connection_json, torchserve

ROOT = Path(__file__).parents[2]
MODEL, IMAGE = "sample-reviews", "example/release:1"
pytestmark = [pytest.mark.airflow, pytest.mark.pipelines, pytest.mark.torchserve]


@pytest.fixture
def dag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The sample model's own release DAG, with what a cluster needs to know in its YAML."""
    from airflow.dag_processing.dagbag import DagBag

    settings = yaml.safe_load((ROOT / "include" / "models" / f"{MODEL}.yaml").read_text())
    settings["store"] = (tmp_path / "store").as_uri()
    settings["cluster"] = {"image": IMAGE, "steps": {"train": {"retries": 1}}}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    bag = DagBag(str(ROOT / "dags" / "release_models.py"), safe_mode=False)
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    return dag


@pytest.fixture
def world(
    tmp_path: Path, empty_mlflow: Path, pipelines_python: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimpleNamespace]:
    """Yield the doubles and the services behind the DAG's connections."""
    extra = {"tracking_uri": f"sqlite:///{shutil.copy(empty_mlflow, tmp_path)}"}
    connection = Connection(conn_id="registry_default", conn_type="mlflow", extra=json.dumps(extra))
    monkeypatch.setattr(notifications, "_PAUSES_SECONDS", (0.0, 0.0))
    with ExitStack() as stack:
        kubeflow = stack.enter_context(kfp_server(python=pipelines_python, multi_user=True))
        k8s = stack.enter_context(cluster(images={IMAGE: Image(Path(pipelines_python).parent)}, namespace="team"))
        serving = stack.enter_context(torchserve(pipelines_python, tmp_path))
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
        for name, text in {
            "CLUSTER": k8s.connection_variable(tmp_path / "kubeconfig"),
            "PIPELINES_DEFAULT": json.dumps(pipelines),
            "SERVING_DEFAULT": connection_json(serving.connection),
            "REGISTRY_DEFAULT": json.dumps({"conn_type": "mlflow", "extra": extra}),
            "ALERTS_DEFAULT": json.dumps({"conn_type": "apprise", "extra": {"config": {"path": url}}}),
        }.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", text)
        registry = MlflowHook("registry_default", connection=connection)
        yield SimpleNamespace(
            kubeflow=kubeflow, k8s=k8s, serving=serving.hook, registry=registry, alerts=listener.alerts
        )


def test_the_sample_model_goes_live(world: SimpleNamespace, dag: Any, run_dag: Any, xcom: Any) -> None:
    run = run_dag(dag)

    assert run.state == "success", {task.task_id: task.state for task in run.get_task_instances()}
    version = release_version(run)
    live = world.serving.get_live(MODEL)
    assert live is not None
    assert live.version == version
    answer = world.serving.predict(MODEL, json.dumps({"instances": ["a wonderful place"]}).encode())
    assert answer.status_code == 200
    assert answer.body["predictions"][0]["version"] == version
    assert world.registry.get_release(MODEL, version).state is ReleaseState.LIVE
    assert world.alerts == []

    (row,) = world.kubeflow.runs.values()
    assert row.run_id == xcom(run, "train") == world.kubeflow.workflows[0].run_id
    assert (row.state, row.namespace) == ("SUCCEEDED", "team")
    assert row.display_name.startswith(f"{MODEL} {version}")
    assert xcom(run, "train", "run_url").endswith(f"/#/runs/details/{row.run_id}")
    executors = world.kubeflow.workflows[0].documents[0]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {IMAGE}
