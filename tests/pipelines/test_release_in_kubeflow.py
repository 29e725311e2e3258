"""The pipeline that releases without Airflow: what it asks of Kubeflow, and a whole release with a real TorchServe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.classifier.packaging.server import TorchServe, torchserve
from include.contracts.registry_tags import (
    ARCHIVE_TAG,
    LIVE_ALIAS,
    PREVIOUS_ALIAS,
    REASON_TAG,
    STATE_TAG,
    VERSION_TAG,
)
from include.models import read_trained_model
from tests.inference_services import Cluster, inference_services

ROOT = Path(__file__).parents[2]
IR = ROOT / "include" / "pipelines" / "release_in_kubeflow.yaml"
STEPS = ["Load data", "Read side by side", "Train", "Package", "Evaluate", "Register", "Deploy", "Predict"]
#: Of them, what is a pipeline, and the steps in it.
READING, READING_STEPS = "Read side by side", ["exec-read", "exec-merge"]
FIRST, SECOND = "20261121030000", "20261122030000"

# As the embedded world does: the steps' heavy imports are made once.
RUN = """
import json, pathlib, sys
from unittest.mock import Mock
from kfp import components, local
from include.classifier import steps
from include.pipelines.forked_steps import fork_steps
from include.pipelines.local_steps import take_over
take_over(Mock(), pathlib.Path(sys.argv[2]))  # kfp.local starts nothing where its interpreter's path has a space
fork_steps(first=steps.HEAVY_IMPORTS_OF_TRAINING, later=steps.HEAVY_IMPORTS_AFTER_TRAINING)
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
components.load_component_from_file(sys.argv[1])(**json.loads(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    pipeline, platform = yaml.safe_load_all(IR.read_text(encoding="utf-8"))
    return pipeline, platform


def test_a_run_needs_no_parameter_and_each_is_described(documents: Any) -> None:
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    assert [name for name, spec in parameters.items() if not spec.get("description")] == []
    assert [name for name, spec in parameters.items() if not spec.get("isOptional")] == []


def test_it_runs_these_steps_in_this_order(documents: Any) -> None:
    tasks = documents[0]["root"]["dag"]["tasks"]
    done: list[str] = []
    while len(done) < len(tasks):
        ready = [
            name for name, task in tasks.items() if name not in done and not {*task.get("dependentTasks", ())} - {*done}
        ]
        assert len(ready) == 1, "two steps at once could share the volume's only node"
        done += ready
    assert [tasks[name]["taskInfo"]["name"] for name in done] == STEPS


def test_every_step_takes_the_image_from_the_parameter_and_is_not_cached(documents: Any) -> None:
    pipeline, _ = documents
    for task in pipeline["root"]["dag"]["tasks"].values():
        assert not task["cachingOptions"].get("enableCache")
        assert "image" in [spec.get("componentInputParameter") for spec in task["inputs"]["parameters"].values()]
    for executor in pipeline["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"].startswith("{{$.inputs.parameters[")
        assert "pip" not in " ".join(executor["container"]["command"])


def test_every_step_has_the_volume_and_the_credentials(documents: Any) -> None:
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len({*STEPS} - {READING}) + len(READING_STEPS)
    assert executors.keys() >= {*READING_STEPS}
    for executor in executors.values():
        (mount,) = executor["pvcMount"]
        assert mount["mountPath"] == "/mnt/models"
        assert mount["pvcNameParameter"] == {"componentInputParameter": "volume"}
        (secret,) = executor["secretAsEnv"]
        assert secret["optional"] is True


def test_files_are_read_side_by_side_in_pods_as_all_others(documents: Any) -> None:
    pipeline, _ = documents
    executors = pipeline["deploymentSpec"]["executors"]
    tasks = [task for component in pipeline["components"].values() for task in tasks_of(component)]
    (loop,) = (task for task in tasks if "parameterIterator" in task)
    (condition,) = (
        task["triggerPolicy"]["condition"] for task in tasks if "condition" in task.get("triggerPolicy", {})
    )

    assert loop["parameterIterator"]["items"] == {"inputParameter": "pipelinechannel--parts"}
    assert condition == "inputs.parameter_values['pipelinechannel--how'] == 'parts'"
    for name in READING_STEPS:
        (task,) = (task for task in tasks if task["componentRef"]["name"] == name.replace("exec-", "comp-"))
        given = task["inputs"]["parameters"]
        container = executors[name]["container"]
        for placeholder in (container["image"], *container["resources"].values()):
            parameter = placeholder.removeprefix("{{$.inputs.parameters['").removesuffix("']}}")
            # Of a loop or a condition, the server would find no such parameter.
            assert given[parameter] == {"componentInputParameter": parameter.removeprefix("pipelinechannel--")}
        if name == "exec-read":
            assert task["retryPolicy"]["maxRetryCount"] == 3
    assert not [task for task in tasks if task.get("cachingOptions", {}).get("enableCache")]


def tasks_of(component: Any) -> list[Any]:
    return list(component.get("dag", {}).get("tasks", {}).values())


def test_the_step_that_registers_knows_its_run(documents: Any) -> None:
    register = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-register"]
    # Kubeflow puts this label on every pod of a run.
    assert register["fieldPathAsEnv"] == [{"name": "KFP_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}]


@pytest.mark.long
@pytest.mark.processes
def test_compiled_for_an_object_store_it_mounts_no_volume(tmp_path: Path) -> None:
    script = "from include.pipelines.compile import compiled; print(compiled('release_in_kubeflow'))"
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT), "RELEASE_STORAGE": "object-store"},
        capture_output=True,
        text=True,
        check=True,
    )
    platform = list(yaml.safe_load_all(answer.stdout))[1]
    for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        assert "pvcMount" not in executor
        assert "secretAsEnv" in executor


class Predictors:
    """What KServe would start: a TorchServe on the package that a predictor's ``storageUri`` names."""

    def __init__(self, volume: Path, stack: ExitStack) -> None:
        self._volume, self._stack = volume, stack
        self._servers: dict[str, TorchServe] = {}
        self.wrong_version = ""

    def __call__(self, predictor: dict[str, Any], body: bytes) -> tuple[int, Any]:
        uri = predictor["model"]["storageUri"]
        if uri not in self._servers:
            server = self._stack.enter_context(torchserve(self._volume / uri.removeprefix("pvc://models/")))
            server.wait_until_ready("sample-reviews")
            self._servers[uri] = server
        status, answer = self._servers[uri].predict("/v1/models/sample-reviews:predict", body)
        if self.wrong_version and self.wrong_version in uri:
            for row in answer["predictions"]:
                row["label"] = "another label"
        return status, answer


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        predictors = Predictors(tmp_path / "volume", stack)
        yield stack.enter_context(inference_services(predictors, tmp_path / "kubeconfig"))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return ``run(version, **parameters)``, which runs the committed IR with kfp.local."""

    def run(version: str, **parameters: Any) -> subprocess.CompletedProcess[str]:
        arguments = {
            "model_version": version,
            "store_uri": (tmp_path / "volume").as_uri(),
            "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
            "namespace": "team",
            **parameters,
        }
        environment = {
            "PYTHONPATH": str(ROOT),
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "STORE_VOLUME_PATH": str(tmp_path / "volume"),
        }
        return subprocess.run(
            [sys.executable, "-c", RUN, str(IR), str(tmp_path / "kfp" / version), json.dumps(arguments)],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    return run


@pytest.mark.pipelines
@pytest.mark.long
def test_files_that_are_read_side_by_side_make_the_same_data_set(run: Any, tmp_path: Path) -> None:
    """Both runs end behind it, because there is no such base model."""
    data = read_trained_model("sample-reviews").data.model_dump(mode="json", exclude_none=True)
    ended = {
        version: run(version, data=data | {"parallel_files": files}, training={"base_model": str(tmp_path / "none")})
        for version, files in ((FIRST, 1), (SECOND, 2))
    }

    for version, done in ended.items():
        assert "train: loading base model" in done.stdout, done.stdout[-5000:]
        assert ("2 files are read in 2 parts" in done.stdout) is (version == SECOND)
    whole, parts = (tmp_path / "volume" / "sample-reviews" / version / "dataset" for version in (FIRST, SECOND))
    assert sorted(path.name for path in parts.iterdir()) == sorted(path.name for path in whole.iterdir())
    for split in ("train", "evaluation"):
        assert (parts / f"{split}.parquet").read_bytes() == (whole / f"{split}.parquet").read_bytes()


def hardly_trained() -> dict[str, Any]:
    """Return settings that make a bad model."""
    return read_trained_model("sample-reviews").training.model_dump(exclude_none=True) | {"epochs": 0.1}


def entries(folder: Path) -> dict[str, Any]:
    """Return what the registry of the runs knows: version -> entry."""
    from mlflow import MlflowClient

    found = MlflowClient(f"sqlite:///{folder}/mlflow.db").search_model_versions("name = 'sample-reviews'")
    return {entry.tags[VERSION_TAG]: entry for entry in found}


@pytest.mark.long  # two trainings; its steps are told by tests/release_in_kubeflow
@pytest.mark.pipelines
@pytest.mark.torchserve
@pytest.mark.timeout(1800)
def test_a_release_goes_live_and_a_wrong_model_gives_way_to_it(run: Any, cluster: Cluster, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    first = run(FIRST)
    assert first.returncode == 0, first.stdout[-5000:]
    live = cluster.services["sample-reviews"]["spec"]["predictor"]
    assert live["model"]["storageUri"] == f"pvc://models/sample-reviews/{FIRST}/package"
    assert live["model"]["runtime"] == "kubeflow-model-release"
    candidate = json.loads((tmp_path / "volume" / "sample-reviews" / FIRST / "candidate.json").read_text())
    assert not any(example["text"] in first.stdout for example in candidate["golden_examples"])

    # Answers wrongly once it is deployed: what was there comes back.
    cluster.predictor.wrong_version = SECOND  # type: ignore[attr-defined]
    any_model = {"must_beat_baseline": False, "max_slice_regression": 1, "max_calibration_regression": 1}
    second = run(SECOND, training=hardly_trained(), min_macro_f1=0.0, max_regression=1.0, gate=any_model)
    assert second.returncode != 0
    assert "answers wrongly: row 1 should be" in second.stdout
    assert f"The version before ({FIRST}) was put back." in second.stdout
    assert cluster.services["sample-reviews"]["spec"]["predictor"] == live

    known = entries(tmp_path)
    states = {version: entry.tags[STATE_TAG] for version, entry in known.items()}
    assert states == {FIRST: "live", SECOND: "rolled back"}
    assert known[FIRST].tags[ARCHIVE_TAG] == candidate["archive"]["uri"]
    assert "answers wrongly" in known[SECOND].tags[REASON_TAG]
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    aliases = client.get_registered_model("sample-reviews").aliases
    assert (str(aliases[LIVE_ALIAS]), PREVIOUS_ALIAS in aliases) == (str(known[FIRST].version), False)


@pytest.mark.pipelines
@pytest.mark.torchserve
@pytest.mark.timeout(1800)
@pytest.mark.long  # two trainings more; what is good enough is told by tests/release_in_kubeflow/test_steps.py
def test_what_is_not_good_enough_does_not_touch_the_service(run: Any, cluster: Cluster, tmp_path: Path) -> None:
    first = run(FIRST)
    assert first.returncode == 0, first.stdout[-5000:]
    writes = list(cluster.writes)

    second = run(SECOND, training=hardly_trained(), min_macro_f1=0.9)

    assert second.returncode != 0
    assert f"sample-reviews {SECOND} is rejected: macro F1" in second.stdout
    assert re.search(r"macro F1 [0-9.]+, live [0-9.]+, difference -[0-9.]+, 95 % interval -", second.stdout)
    assert cluster.writes == writes
    assert {version: entry.tags[STATE_TAG] for version, entry in entries(tmp_path).items()} == {
        FIRST: "live",
        SECOND: "rejected",
    }
