"""Somebody who has Airflow, and nothing of this project, installs the provider and follows its quick start."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubeflow_provider.get_provider_info import get_provider_info
from tests.docs.test_commands import blocks
from tests.doubles.kfp_server import kfp_server
from tests.plain_airflow import PlainAirflow, find_python

PACKAGE = Path(__file__).parents[2] / "plugins" / "kubeflow_provider"
GUIDE = PACKAGE / "docs" / "quick-start.md"
NAME = "airflow-provider-kubeflow"

pytestmark = [pytest.mark.long, pytest.mark.processes, pytest.mark.airflow]


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """An Airflow, and what was installed in it before the provider was and after it."""

    airflow: PlainAirflow
    before: dict[str, str]
    after: dict[str, str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that ``WHEEL`` names, else one that is built here."""
    if given := os.environ.get("WHEEL"):
        return Path(given).resolve()
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: building writes beside the sources.
    shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "wheels"]
    subprocess.run([*command, folder / "source"], check=True)
    (wheel,) = (folder / "wheels").iterdir()
    return wheel


@pytest.fixture(scope="module", params=["", "3.12", "3.13"], ids=["this Python", "Python 3.12", "Python 3.13"])
def stranger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path
) -> Iterator[Stranger]:
    """Install the wheel into a plain Airflow, as its quick start says; only the name is a file's."""
    assert any(f"pip install {NAME}" in block for block in blocks(GUIDE, "bash"))
    python = find_python(request.param) if request.param else None
    if request.param and python is None:
        pytest.skip(f"this machine has no Python {request.param}")
    airflow = PlainAirflow(tmp_path_factory.mktemp("stranger"), python)
    before = airflow.packages()
    airflow.pip("install", str(wheel))
    yield Stranger(airflow=airflow, before=before, after=airflow.packages())
    shutil.rmtree(airflow.folder, ignore_errors=True)


def test_nothing_that_was_there_is_changed(stranger: Stranger, tmp_path: Path) -> None:
    changed = {
        name: (version, stranger.after.get(name))
        for name, version in stranger.before.items()
        if stranger.after.get(name) != version
    }
    added = sorted(set(stranger.after) - set(stranger.before))
    (tmp_path / "added.txt").write_text("\n".join(added))  # for whoever looks

    assert changed == {}
    assert added == [NAME], "Airflow has all the rest already"
    assert not {"mlflow", "mlflow-skinny", "apprise", "kfp", "torch", "airflow-model-releases"} & set(added)
    assert stranger.airflow.pip("check").strip() == "No broken requirements found."


def test_what_an_extra_brings_changes_nothing_either(stranger: Stranger, wheel: Path) -> None:
    report = stranger.airflow.pip(
        "install", "--dry-run", "--quiet", "--report", "-", f"{wheel}[kubernetes,openlineage]"
    )
    would = {
        item["metadata"]["name"].lower().replace("_", "-")
        for item in json.loads(report[report.index("{") :])["install"]
    }

    assert {"apache-airflow-providers-cncf-kubernetes", "apache-airflow-providers-openlineage"} <= would
    assert would & {name.lower().replace("_", "-") for name in stranger.before} == set()


#: Imports all modules but the one that Airflow's OpenLineage provider alone asks for, and says what is not imported.
IMPORTS = """
import importlib, pkgutil
import kubeflow_provider
from kubeflow_provider.exceptions import InvalidRequestError
for module in pkgutil.walk_packages(kubeflow_provider.__path__, "kubeflow_provider."):
    if module.name != "kubeflow_provider.operators._lineage":
        try:
            importlib.import_module(module.name)
        except InvalidRequestError as error:
            print("WITHOUT", module.name, error)
"""


def test_everything_is_imported_without_the_extras_or_says_which_is_missing(stranger: Stranger) -> None:
    said = stranger.airflow.python(IMPORTS).splitlines()
    wanting = [line for line in said if line.startswith("WITHOUT ")]

    assert [line.split()[1] for line in wanting] == ["kubeflow_provider.kubernetes.client"]
    assert "pip install 'airflow-provider-kubeflow[kubernetes]'" in wanting[0]


def test_airflow_lists_it_with_all_that_it_has(stranger: Stranger) -> None:
    version = get_provider_info()["versions"][0]
    listed = json.loads(_json(stranger.airflow.airflow("providers", "list", "--output", "json")))
    assert {entry["package_name"]: entry["version"] for entry in listed}[NAME] == version

    (full,) = json.loads(_json(stranger.airflow.airflow("providers", "get", NAME, "--full", "--output", "json")))
    for section in ("integrations", "operators", "sensors", "hooks", "triggers", "extra-links", "connection-types"):
        assert full[section], section
    hooks = stranger.airflow.airflow("providers", "hooks", "--output", "plain")
    assert re.search(r"^kubeflow_pipelines .*KubeflowPipelinesHook", hooks, re.M)
    assert re.search(r"^kserve .*KServeHook", hooks, re.M)


def test_the_quick_start_runs_as_it_is_written(stranger: Stranger) -> None:
    airflow = stranger.airflow
    examples = Path(
        airflow.python("import kubeflow_provider as p; print(p.__path__[0])").splitlines()[-1], "example_dags"
    )
    # The page shows a part of the example; its pipeline is compiled in tests/docs.
    source = (examples / "example_quick_start.py").read_text(encoding="utf-8")
    shown = source.split("# [START quick_start]\n")[1].split("# [END quick_start]")[0]
    (airflow.dags / "hello_kubeflow.py").write_text(shown, encoding="utf-8")
    shutil.copy(examples / "hello.yaml", airflow.dags)
    (export,) = (block for block in blocks(GUIDE, "bash") if block.startswith("export "))
    variable, _, value = export.strip().removeprefix("export ").partition("=")
    (commands,) = (block for block in blocks(GUIDE, "bash") if "airflow dags test" in block)

    with kfp_server() as server:
        server.script(None, ["PENDING", "RUNNING", "SUCCEEDED"])
        connection = value.strip("'").replace("http://127.0.0.1:8888", server.url)
        tested = airflow.airflow(
            "connections",
            "test",
            "kubeflow_pipelines_default",
            **{variable: connection, "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"},
        )
        said = [airflow.airflow(*line.split()[1:], **{variable: connection}) for line in commands.splitlines()]

    assert "Connection success!" in tested
    (run,) = server.runs.values()
    assert run.runtime_config["parameters"] == {"name": "everybody"}
    assert run.state == "SUCCEEDED"
    assert run.run_id in said[-1]


def _json(said: str) -> str:
    """Return what a command has said, without the warnings before it."""
    return said[said.index("[") :] if said.lstrip()[:1] != "[" else said
