"""The image does all that it is for, as a cluster that trusts nobody would run it.

No network, a read-only root file system, no capabilities, a numeric user: data set, training pipeline, package and
predictions. ``IMAGE`` names an image that is there already; without it ``make image`` builds one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MODEL, VERSION = "sample-reviews", "20261121030000"

#: As the embedded world does: the steps' heavy imports are made once.
TRAIN = """
import json, sys
from kfp import components, local
from include.classifier import steps
from include.pipelines.forked_steps import fork_steps
fork_steps(first=steps.HEAVY_IMPORTS_OF_TRAINING, later=steps.HEAVY_IMPORTS_AFTER_TRAINING)
local.init(local.SubprocessRunner(use_venv=False), pipeline_root="/tmp/kfp")
components.load_component_from_file("/app/include/pipelines/train_classifier.yaml")(**json.loads(sys.argv[1]))
"""

PREDICT = """
import sys, urllib.request
url, headers = "http://127.0.0.1:8080/v1/models/sample-reviews:predict", {"Content-Type": "application/json"}
request = urllib.request.Request(url, sys.stdin.buffer.read(), headers)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def docker(*arguments: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    answer = subprocess.run(["docker", *arguments], input=input, capture_output=True, text=True, check=False)
    assert not check or answer.returncode == 0, f"{answer.stdout[-3000:]}\n{answer.stderr[-3000:]}"
    return answer


def engine() -> str | None:
    """Return why there is no engine to run images with, ``None`` when there is one."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    return None if docker("info", check=False).returncode == 0 else "no Docker engine answers"


pytestmark = [pytest.mark.docker, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def image() -> str:
    if reason := engine():
        pytest.skip(reason)
    if name := os.environ.get("IMAGE"):
        return name
    name = "kubeflow-model-release:test"
    built = subprocess.run(["make", "image", f"IMAGE={name}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return name


@pytest.fixture(scope="module")
def store(image: str) -> Iterator[str]:
    """A volume that any user may write to, as a persistent volume claim is."""
    name = f"image-test-{uuid.uuid4().hex[:8]}"
    docker("volume", "create", name)
    try:
        docker("run", "--rm", "--user", "0", "-v", f"{name}:/store", image, "chmod", "777", "/store")
        yield name
    finally:
        docker("volume", "rm", "--force", name)


def locked_down(store: str, *more: str) -> list[str]:
    return [
        *("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp:exec,mode=1777"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "1000710000:0"),
        *("--volume", f"{store}:/store", *more),
    ]


@pytest.fixture(scope="module")
def package(image: str, store: str) -> str:
    """Preprocess and train in the image; return where the package lies in the store."""
    model = yaml.safe_load((ROOT / "include" / "models" / f"{MODEL}.yaml").read_text(encoding="utf-8"))
    folder = f"file:///store/{MODEL}/{VERSION}"
    run = [*locked_down(store), image, "python"]
    docker(
        *(*run, "-m", "include.classifier.preprocess", "--model", MODEL),
        *("--data", json.dumps(model["data"]), "--output-uri", f"{folder}/dataset"),
    )
    parameters = {
        "training": model["training"] | {"epochs": 2},
        "dataset_uri": f"{folder}/dataset/dataset.json",
        "output_uri": folder,
        "model_name": MODEL,
        "model_version": VERSION,
    }
    docker(*run, "-c", TRAIN, json.dumps(parameters))
    return f"{MODEL}/{VERSION}/package"


def test_holds_the_pipeline_half_only(image: str) -> None:
    listed = docker("run", "--rm", image, "sh", "-c", "ls /app; ls -a /app/include").stdout.split()
    assert listed[0] == "include"
    assert {"classifier", "pipelines", "models", "contracts", "sample_data"} <= {*listed}
    imports = (
        "import importlib.util as u; print([m for m in ('airflow', 'kubeflow_provider', 'pytest') if u.find_spec(m)])"
    )
    assert docker("run", "--rm", image, "python", "-c", imports).stdout.strip() == "[]"


def test_is_not_root_and_knows_its_revision(image: str) -> None:
    described = json.loads(docker("inspect", image).stdout)[0]["Config"]
    assert described["User"].split(":")[0].isdigit() and described["User"] != "0"
    environment = dict(line.split("=", 1) for line in described["Env"])
    assert environment["CODE_REVISION"]
    assert described["Labels"]["org.opencontainers.image.revision"] == environment["CODE_REVISION"]


def test_a_model_trained_in_it_is_served_by_it(image: str, store: str, package: str) -> None:
    read = ["run", "--rm", "-v", f"{store}:/store", image, "cat", f"/store/{MODEL}/{VERSION}/candidate.json"]
    candidate = json.loads(docker(*read).stdout)
    revision = docker("run", "--rm", image, "printenv", "CODE_REVISION").stdout.strip()
    assert candidate["code_revision"] == revision

    name = f"image-test-{uuid.uuid4().hex[:8]}"

    docker(
        *locked_down(store, "--detach", "--name", name),
        image,
        "python",
        "-m",
        "include.classifier.serve",
        f"/store/{package}",
    )
    try:
        check = ["exec", name, "python", "-m", "include.classifier.serve", "--check"]
        deadline = time.monotonic() + 180
        while docker(*check, check=False).returncode != 0:
            assert time.monotonic() < deadline, docker("logs", name).stdout
            time.sleep(0.5)
        examples = candidate["golden_examples"]
        body = json.dumps({"instances": [example["text"] for example in examples]})
        answer = json.loads(docker("exec", "-i", name, "python", "-c", PREDICT, input=body).stdout)
        assert [row["label"] for row in answer["predictions"]] == [example["label"] for example in examples]
        assert {row["version"] for row in answer["predictions"]} == {VERSION}
        log = docker("logs", name)
        assert not any(example["text"] in log.stdout + log.stderr for example in examples)
        docker("stop", "--time", "30", name)
    finally:
        docker("rm", "--force", name, check=False)
