"""The project's own DAGs in a running Airflow whose releases are recorded in Kubeflow's Model Registry."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from model_releases.registry.model_registry import ModelRegistryHook
from tests.airflow_server import AirflowServer, Serve
from tests.doubles.kubernetes.kserve import KServeSettings
from tests.doubles.kubernetes.kserve.definitions import SERVICES
from tests.doubles.model_registry import ModelRegistry, model_registry
from tests.kserve_support import RUNTIME, KServeWorld, kserve
from tests.model_releases.registry.test_model_registry import hook
from tests.serving_support import MODEL
from tests.toy_package import LABELS

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.pipelines,
    pytest.mark.long,
    # What is different in the other database has nothing to do with the registry.
    pytest.mark.parametrize("database", ["sqlite"], indirect=True),
]

ROOT = Path(__file__).parents[3]
FIRST, SECOND, THIRD = "20260101030000", "20260102030000", "20260103030000"
RELEASE, ROLL_BACK = "release_toy_reviews", "roll_back_toy_reviews"
PAGES = "https://kubeflow.example/model-registry/model-registry-service"

#: A DAG file of the project, for the models of this test; Airflow passes over files in which its name is not.
DAGS = """
# airflow DAG
import os
from pathlib import Path

os.environ |= {{"MODELS_DIR": {models!r}, "ALLOWED_SOURCES": "*"}}
exec(compile(Path({file!r}).read_text(), {file!r}, "exec"), globals())
"""


@pytest.fixture(scope="module")
def registry() -> Iterator[ModelRegistry]:
    with model_registry() as server:
        yield server


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeWorld]:
    settings = KServeSettings(default_mode="Standard", version="0.20.0")
    with kserve(tmp_path_factory.mktemp("cluster"), settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(
    serve: Serve,
    registry: ModelRegistry,
    serving: KServeWorld,
    pipelines_python: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AirflowServer:
    folder = tmp_path_factory.mktemp("registry")
    (folder / "models").mkdir()
    store = (folder / "store").as_uri()
    rows = [f'"{label} place number {number}",{label}' for number in range(40) for label in LABELS]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    kserve = {"runtime": RUNTIME, "storage": {store: "s3://models"}, "registry_labels": True}
    settings = {
        "name": MODEL,
        "pipeline": "tests/test_pipelines/publish_toy_package.yaml",
        "store": store,
        "data": {"train": str(folder / "train.csv"), "labels": list(LABELS), "min_evaluation_rows": 2},
        "training": {"base_model": "sound"},
        "smoke_test": {"max_latency_ms": 60_000},
        "serving": {"kserve": kserve},
        "retention": {"keep_releases": 1, "keep_unreleased": 0},
        "connections": {
            **{service: f"{service}_registry" for service in ("pipelines", "serving", "registry")},
            "alerts": "none",
        },
    }
    (folder / "models" / "toy.yaml").write_text(yaml.safe_dump(settings))
    pipelines = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(folder / "runs")}
    connections: dict[str, dict[str, Any]] = {
        "kubernetes_test": json.loads(os.environ["AIRFLOW_CONN_KUBERNETES_TEST"]),
        "pipelines_registry": {"conn_type": "local_pipelines", "extra": pipelines},
        "serving_registry": {
            "conn_type": "kserve",
            "host": serving.connection.host,
            "extra": serving.connection.extra_dejson,
        },
        "registry_registry": {
            "conn_type": "kubeflow_model_registry",
            "host": registry.url,
            "extra": {"ui_url": PAGES},
        },
    }
    files = {
        # There is one DAG `retention` for all models: its file takes the place of another test's.
        "retention.py" if name == "retention" else f"registry_{name}.py": DAGS.format(
            models=str(folder / "models"), file=str(ROOT / "dags" / f"{name}.py")
        )
        for name in ("release_models", "roll_back", "retention")
    }
    return serve(files, connections, (RELEASE, ROLL_BACK, "retention"))


def release(airflow: AirflowServer, version: str, **conf: Any) -> str:
    """Release the model as of a day, and return the run."""
    day = f"{version[:4]}-{version[4:6]}-{version[6:8]}T03:00:00Z"
    body = {"logical_date": None, "run_after": day, "conf": conf}
    run = str(airflow.call("POST", f"/dags/{RELEASE}/dagRuns", body)["dag_run_id"])
    assert airflow.wait(RELEASE, run) == "success", tasks(airflow, RELEASE, run)
    return run


def tasks(airflow: AirflowServer, dag: str, run: str) -> dict[str, str]:
    found = airflow.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
    return {task["task_id"]: task["state"] for task in found}


def states(registry: ModelRegistryHook) -> dict[str, str]:
    return {entry.version: entry.state.value for entry in registry.list_releases(MODEL)}


def test_releases_a_rejection_a_putting_back_and_retention_are_recorded(
    airflow: AirflowServer, registry: ModelRegistry, serving: KServeWorld
) -> None:
    recorded = hook(registry.url, ui_url=PAGES)
    run = release(airflow, FIRST)
    assert states(recorded) == {FIRST: "live"}
    first = recorded.get_release(MODEL, FIRST)
    assert first is not None
    assert first.facts["dag_run_id"] == run
    assert airflow.xcom(RELEASE, run, "register", "registry_url") == first.url
    assert first.url == f"{PAGES}/registered-models/1/versions/2"

    release(airflow, SECOND)
    assert states(recorded) == {SECOND: "live", FIRST: "retired"}
    release(airflow, THIRD, min_macro_f1=0.95)
    assert states(recorded) == {THIRD: "rejected", SECOND: "live", FIRST: "retired"}

    back = airflow.trigger(ROLL_BACK, {"reason": "wrong on short texts"})
    assert airflow.wait(ROLL_BACK, back) == "success", tasks(airflow, ROLL_BACK, back)
    after = {THIRD: "rejected", SECOND: "rolled back", FIRST: "live"}
    assert states(recorded) == after
    live = serving.hook.get_live(MODEL)
    assert live is not None
    assert live.version == FIRST

    swept = airflow.trigger("retention", {"dry_run": False})
    assert airflow.wait("retention", swept) == "success", airflow.log("retention", swept, MODEL)
    gone = [entry["version"] for entry in airflow.xcom("retention", swept, MODEL)["versions"] if entry["goes"]]
    assert gone == [THIRD]

    assert states(recorded) == after, "nothing is ever deleted there"
    with httpx.Client(base_url=f"{registry.url}/api/model_registry/v1") as people:
        look_at_the_records(people, registry)
    look_at_the_service(serving, registry)


def look_at_the_records(people: httpx.Client, registry: ModelRegistry) -> None:
    """Look at what people see on the registry's own pages."""
    (model,) = people.get("/registered_models").json()["items"]
    pointers = registry.properties("registered_models", MODEL)
    assert (model["name"], pointers["release.live"]) == (MODEL, FIRST)
    assert "release.previous" not in pointers
    versions = people.get("/registered_models/1/versions").json()["items"]
    assert [version["name"] for version in versions] == [FIRST, SECOND, THIRD]
    assert {version["state"] for version in [model, *versions]} == {"LIVE"}
    shown = {name: registry.properties("model_versions", name) for name in (FIRST, SECOND, THIRD)}
    for name, version in zip(shown, versions, strict=True):
        facts = shown[name]
        assert facts["fact.metric.candidate.macro_f1"] == "0.9"
        assert facts["fact.dataset_sha256"] == "d" * 64
        assert facts["fact.code_revision"]
        assert facts["fact.pipeline_run_id"]
        assert "" not in facts.values()
        artifacts = people.get(f"/model_versions/{version['id']}/artifacts").json()["items"]
        assert [artifact["name"] for artifact in artifacts] == ["package"]
        assert artifacts[0]["uri"] == facts["release.archive_uri"]
        assert artifacts[0]["modelFormatName"] == "pytorch"
        assert artifacts[0]["modelSourceId"] == facts["fact.pipeline_run_id"]
    assert "macro F1" in shown[THIRD]["release.reason"]
    assert "wrong on short texts" in shown[SECOND]["release.reason"]
    assert [name for name in shown if "fact.archive_deleted_at" in shown[name]] == [THIRD]


def look_at_the_service(serving: KServeWorld, registry: ModelRegistry) -> None:
    """Look at the labels, which are those that the service was made with."""
    (record,) = (row.document() for row in registry.store.rows.values() if row.kind == "inference_services")
    first = next(row for row in registry.store.rows.values() if row.fields["name"] == FIRST)
    assert (record["modelVersionId"], record["desiredState"]) == (str(first.id), "DEPLOYED")
    changes = [change for change in serving.k8s.store.changes(SERVICES, 0) if change.now["metadata"]["name"] == MODEL]
    labels = [change.now["metadata"]["labels"] for change in changes]
    assert labels[0]["modelregistry.kubeflow.org/inference-service-id"] == record["id"]
    assert all(found == labels[0] for found in labels)
