"""Both examples of pipelines of anybody's in a running Airflow that releases them to KServe in a cluster.

The flowers are served by a runtime that knows no versions, as KServe's own do: who has answered, its pods must tell, in
the triggerer as well. The digits are served by the server of ``deploy/kserve/model-server.yaml``, for real.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.airflow_server import AirflowServer, Serve
from tests.doubles.kubernetes.kserve import FormatServer, KServeSettings
from tests.doubles.model_registry import ModelRegistry, model_registry
from tests.end_to_end.running_airflow.test_model_registry import DAGS
from tests.kserve_support import KServeWorld, kserve
from tests.model_releases.registry.test_model_registry import hook
from tests.model_server_image import install_model_server

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.pipelines,
    pytest.mark.processes,
    pytest.mark.long,
    # What is different in the other database has nothing to do with the kind of model.
    pytest.mark.parametrize("database", ["sqlite"], indirect=True),
]

ROOT = Path(__file__).parents[3]
IRIS, DIGITS = "iris", "digits"
FIRST, SECOND, THIRD = "20260101030000", "20260102030000", "20260103030000"
SETOSA = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()
NOTHING = json.dumps(
    {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}]}
).encode()


@pytest.fixture(scope="module")
def registry() -> Iterator[ModelRegistry]:
    with model_registry() as server:
        yield server


@pytest.fixture(scope="module")
def flowers() -> FormatServer:
    """The image of the flowers' server."""
    return FormatServer()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def serving(
    tmp_path_factory: pytest.TempPathFactory, store: Path, flowers: FormatServer, kserve_python: str
) -> Iterator[KServeWorld]:
    settings = KServeSettings(default_mode="Knative", version="0.20.0")
    with kserve(tmp_path_factory.mktemp("cluster"), settings=settings, speed=5, claims={"models": store}) as running:
        running.k8s.add_image("server:1", flowers)
        running.k8s.kserve.add_runtime(
            "sklearnserver", "server:1", formats=("sklearn",), args=["--model_name={{.Name}}"]
        )
        install_model_server(running.k8s, kserve_python)
        yield running


@pytest.fixture(scope="module")
def airflow(
    serve: Serve,
    registry: ModelRegistry,
    serving: KServeWorld,
    store: Path,
    pipelines_python: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AirflowServer:
    folder = tmp_path_factory.mktemp("own")
    (folder / "models").mkdir()
    for model, predictor in ((IRIS, {"runtime": "sklearnserver"}), (DIGITS, {})):
        settings = yaml.safe_load((ROOT / "examples" / model / f"{model}.yaml").read_text())
        settings["predictor"] |= predictor | {"kserve": {"storage": {store.as_uri(): "pvc://models"}}}
        settings["smoke_test"] |= {"max_latency_ms": 60_000, "refused": ['{"instances": [']}
        settings |= {
            "store": store.as_uri(),
            "rollout": {"steps": [50], "watch_seconds": 3, "min_samples": 3, "max_latency_ratio": 50},
            "retention": {"keep_releases": 1, "keep_unreleased": 0},
            "connections": {
                **{service: f"{service}_own" for service in ("pipelines", "serving", "registry")},
                "alerts": "none",
            },
        }
        (folder / "models" / f"{model}.yaml").write_text(yaml.safe_dump(settings))
    pipelines = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(folder / "runs")}
    connections: dict[str, dict[str, Any]] = {
        "kubernetes_test": json.loads(os.environ["AIRFLOW_CONN_KUBERNETES_TEST"]),
        "pipelines_own": {"conn_type": "local_pipelines", "extra": pipelines},
        "serving_own": {
            "conn_type": "kserve",
            "host": serving.connection.host,
            "extra": serving.connection.extra_dejson,
        },
        "registry_own": {"conn_type": "kubeflow_model_registry", "host": registry.url},
    }
    files = {
        # There is one DAG `retention` for all models: its file takes the place of another test's.
        "retention.py" if name == "retention" else f"own_{name}.py": DAGS.format(
            models=str(folder / "models"), file=str(ROOT / "dags" / f"{name}.py")
        )
        for name in ("release_models", "roll_back", "retention")
    }
    names = [f"{what}_{model}" for what in ("release", "roll_back") for model in (IRIS, DIGITS)]
    return serve(files, connections, (*names, "retention"))


def release(airflow: AirflowServer, model: str, version: str, *, ends: str = "success", **conf: Any) -> None:
    """Release a model as of a day."""
    day = f"{version[:4]}-{version[4:6]}-{version[6:8]}T03:00:00Z"
    body = {"logical_date": None, "run_after": day, "conf": conf}
    run = str(airflow.call("POST", f"/dags/release_{model}/dagRuns", body)["dag_run_id"])
    assert airflow.wait(f"release_{model}", run) == ends, tasks(airflow, f"release_{model}", run)


def tasks(airflow: AirflowServer, dag: str, run: str) -> dict[str, str]:
    found = airflow.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
    return {task["task_id"]: task["state"] for task in found}


def put_back(airflow: AirflowServer, model: str) -> None:
    run = airflow.trigger(f"roll_back_{model}", {"reason": "a try"})
    assert airflow.wait(f"roll_back_{model}", run) == "success", tasks(airflow, f"roll_back_{model}", run)


def states(registry: ModelRegistry, model: str) -> dict[str, str]:
    return {entry.version: entry.state.value for entry in hook(registry.url).list_releases(model)}


@pytest.mark.timeout(1800)
def test_flowers_from_the_trigger_to_put_back(
    airflow: AirflowServer, registry: ModelRegistry, serving: KServeWorld, flowers: FormatServer
) -> None:
    release(airflow, IRIS, FIRST)
    answer = serving.hook.predict(IRIS, SETOSA)
    assert (answer.body, answer.version) == ({"predictions": [0]}, FIRST)
    recorded = hook(registry.url).get_release(IRIS, FIRST)
    assert recorded is not None
    assert (recorded.facts["model_format"], recorded.facts["predictor"]) == (
        "sklearn",
        json.dumps({"format": "sklearn", "protocol": "v1", "runtime": "sklearnserver"}),
    )

    # Served, it answers otherwise than it should: it is undone before it has users.
    flowers.wrong.add(SECOND)
    release(airflow, IRIS, SECOND, ends="failed", seed=8)
    assert states(registry, IRIS) == {SECOND: "failed", FIRST: "live"}
    assert serving.hook.get_deployment(IRIS, SECOND) is None
    assert serving.hook.predict(IRIS, SETOSA).version == FIRST

    release(airflow, IRIS, THIRD, seed=8)
    assert serving.hook.predict(IRIS, SETOSA).version == THIRD
    shares = [
        json.loads(request.body).get("spec", {}).get("predictor", {}).get("canaryTrafficPercent")
        for request in serving.k8s.server.requests
        if request.method == "PATCH" and request.path.endswith(f"/inferenceservices/{IRIS}")
    ]
    assert 50 in shares, "it got half of the traffic before it got all of it"

    put_back(airflow, IRIS)
    assert states(registry, IRIS) == {THIRD: "rolled back", SECOND: "failed", FIRST: "live"}
    assert serving.hook.predict(IRIS, SETOSA).version == FIRST

    swept = airflow.trigger("retention", {"dry_run": False})
    assert airflow.wait("retention", swept) == "success", airflow.log("retention", swept, IRIS)
    gone = [entry["version"] for entry in airflow.xcom("retention", swept, IRIS)["versions"] if entry["goes"]]
    assert gone == [SECOND]


@pytest.mark.timeout(1800)
def test_digits_by_the_open_inference_protocol(
    airflow: AirflowServer, registry: ModelRegistry, serving: KServeWorld
) -> None:
    release(airflow, DIGITS, FIRST)
    release(airflow, DIGITS, SECOND, seed=8)
    answer = serving.hook.predict(DIGITS, NOTHING)
    assert (answer.version, answer.body["outputs"][0]["shape"]) == (SECOND, [1, 10])

    put_back(airflow, DIGITS)
    assert states(registry, DIGITS) == {SECOND: "rolled back", FIRST: "live"}
    assert serving.hook.predict(DIGITS, NOTHING).version == FIRST
