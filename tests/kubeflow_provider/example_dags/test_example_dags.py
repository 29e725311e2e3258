"""The examples are whole: each runs to its end."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.hooks._kserve.pod_troubles import Patience
from kubeflow_provider.hooks.kserve import KServeHook
from kubeflow_provider.triggers import base
from kubeflow_provider.triggers.base import PollingTrigger
from tests.doubles.kfp_server import KfpServer, kfp_server
from tests.doubles.kfp_server.tasks import PIPELINE
from tests.doubles.kubernetes import Image, cluster
from tests.kserve_support import IMAGE, kserve
from tests.rights import MODULES, rights

EXAMPLES = Path(__file__).parents[3] / "plugins" / "kubeflow_provider" / "example_dags"


@pytest.fixture
def kubeflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpServer]:
    """Return the server of the default connection, on which every run succeeds."""
    monkeypatch.setattr(PollingTrigger, "first_event_seconds", 0.0)
    with kfp_server() as server:
        server.script(None, ["PENDING", "RUNNING", "SUCCEEDED"])
        value = json.dumps({"conn_type": "kubeflow_pipelines", "host": server.url})
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", value)
        yield server


@pytest.mark.long
@pytest.mark.processes
def test_kubeflow_pipelines(kubeflow: KfpServer, run_dag: Callable[..., Any]) -> None:
    (dag,) = dags_of("example_kubeflow_pipelines").values()

    assert run_dag(dag, name="everybody", times=2).state == "success"
    (run,) = kubeflow.runs.values()
    assert run.runtime_config["parameters"] == {"name": "everybody", "times": 2}
    assert (run.state, run.storage_state) == ("SUCCEEDED", "ARCHIVED")


@pytest.mark.processes
def test_the_quick_start(kubeflow: KfpServer, run_dag: Callable[..., Any]) -> None:
    assert run_dag(dags_of("example_quick_start")["hello_kubeflow"]).state == "success"
    (run,) = kubeflow.runs.values()
    assert run.runtime_config["parameters"] == {"name": "everybody"}


@pytest.mark.processes
def test_kept_runs(kubeflow: KfpServer, run_dag: Callable[..., Any]) -> None:
    dags = dags_of("example_kept_runs")

    assert run_dag(dags["example_kept_runs"]).state == "success"
    assert len(kubeflow.workflows) == 1
    assert kubeflow.runs == {}  # deleted
    assert run_dag(dags["orphaned_runs"]).state == "success"


@pytest.mark.processes
def test_kubeflow_decorator(kubeflow: KfpServer, run_dag: Callable[..., Any]) -> None:
    (dag,) = dags_of("example_kubeflow_decorator").values()

    assert run_dag(dag, name="all").state == "success"
    greeted, *mapped = [run.runtime_config["parameters"] for run in kubeflow.runs.values()]
    assert greeted == {"name": "example_kubeflow_decorator and all", "times": 3}
    # Which of the mapped ones runs first is Airflow's choice.
    assert sorted(parameters["name"] for parameters in mapped) == ["north", "south"]


@pytest.mark.processes
def test_kubeflow_recurring_runs(kubeflow: KfpServer, run_dag: Callable[..., Any]) -> None:
    (dag,) = dags_of("example_kubeflow_recurring_runs").values()

    assert run_dag(dag).state == "success"
    assert kubeflow.recurring_runs == {}
    assert [kubeflow.calls("POST", path) for path in ("/recurringruns", ":disable", ":enable")] == [1, 1, 1]


@pytest.mark.processes
@pytest.mark.parametrize("version", ["3.0.0", pytest.param("2.17.0", marks=pytest.mark.long)])
def test_run_pipeline(
    monkeypatch: pytest.MonkeyPatch, run_dag: Callable[..., Any], tmp_path: Path, version: str
) -> None:
    (dag,) = dags_of("example_run_pipeline").values()
    monkeypatch.setattr(PollingTrigger, "first_event_seconds", 0.0)
    made = {"parameters": {"accuracy": 0.9}, "artifacts": {"model": "s3://models/1"}}
    place = tmp_path / "outputs.json"
    if version != "3.0.0":
        place.write_text(json.dumps(made), encoding="utf-8")
    with kfp_server(version=version) as server:
        steps = [("importer", "SUCCEEDED"), ("train", "SUCCEEDED")]
        server.script(None, ["RUNNING", {"state": "SUCCEEDED", "steps": steps, "outputs": {PIPELINE: made}}])
        value = json.dumps({"conn_type": "kubeflow_pipelines", "host": server.url})
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", value)

        dag_run = run_dag(dag, reuse=False, outputs_uri="" if version == "3.0.0" else str(place))

    assert dag_run.state == "success"
    (run,) = server.runs.values()
    assert (run.service_account, run.description.splitlines()[0]) == (
        "default-editor",
        "Weekly training. Questions: team-reviews",
    )
    document, platform = run.workflow.documents
    assert all(task["cachingOptions"] == {} for task in document["root"]["dag"]["tasks"].values())
    container = document["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert container["resources"]["accelerator"]["resourceCount"] == "1"
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    assert all(executor["podMetadata"] == {"labels": {"team": "reviews"}} for executor in executors)
    assert run.runtime_config["parameters"].get("outputs_uri", "") == ("" if version == "3.0.0" else str(place))


@pytest.mark.waits
def test_inference_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_dag: Callable[..., Any], xcom: Callable[..., Any]
) -> None:
    (dag,) = dags_of("example_inference_service").values()
    monkeypatch.setattr(base, "_pauses", lambda *_, **__: itertools.repeat(0.05))
    monkeypatch.setattr(KServeHook, "patience", Patience(settle_seconds=0))
    with kserve(tmp_path) as world:
        world.k8s.kserve.add_runtime("sklearn-server", IMAGE, formats=("sklearn",))
        value = {"conn_type": "kserve", "host": world.connection.host, "extra": world.connection.extra}
        monkeypatch.setenv("AIRFLOW_CONN_KSERVE_DEFAULT", json.dumps(value))

        places = {"storage_uri": "s3://models/iris/first", "next_storage_uri": "s3://models/iris/second"}
        dag_run = run_dag(dag, canary_percent=50, instances=["a good place"], **places)

        assert dag_run.state == "success"
        answer = xcom(dag_run, "predict")
        assert (answer["status_code"], answer["body"]["predictions"][0]["version"]) == (200, "first")
        assert xcom(dag_run, "ask_again")["status_code"] == 200
        assert xcom(dag_run, "promote")["state"] == "READY"
        assert not world.hook.inference_services.exists("iris")


@pytest.mark.processes
def test_module(
    kubeflow: KfpServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    run_dag: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    (dag,) = dags_of("example_module").values()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "chore.py").write_text("import sys; print('done', *sys.argv[1:])", encoding="utf-8")
    with cluster(images={"example/chore:1": Image(tmp_path / "bin", source=tmp_path)}) as k8s:
        k8s.faults.allow_only(rights(MODULES))
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", k8s.connection_variable(tmp_path / "kubeconfig"))
        value = {"conn_type": "kubeflow_pipelines", "host": kubeflow.url, "extra": {"namespace": "models"}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT", json.dumps(value))

        dag_run = run_dag(dag, image="example/chore:1", module="chore")

        assert dag_run.state == "success"
        assert "done --day=" in capfd.readouterr().out
        assert k8s.pods() == []


def dags_of(name: str) -> dict[str, Any]:
    """Return the DAGs of an example's file, as the DAG processor finds them."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(EXAMPLES / f"{name}.py"), safe_mode=False)
    assert bag.import_errors == {}
    return dict(bag.dags)
