"""The provider on the minor versions of Airflow before the newest: each has an environment of its own.

`make test-all` makes them (`.venv/airflow-3.1` and so on). What needs the other packages of this project, which ask for
the newest, is left out there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.kfp_server import KfpServer, kfp_server

pytestmark = [pytest.mark.long, pytest.mark.processes]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent.relative_to(ROOT)

#: What an older Airflow could break: all that touches tasks, triggers, hooks and the three things that 3.3 brought.
TESTS = (
    "operators/on_kubeflow",
    "operators/test_base.py",
    "operators/test_cancel.py",
    "operators/test_cancelling.py",
    "operators/test_run_marks.py",
    "triggers",
    "hooks/test_hooks.py",
    "kubernetes/test_prepared_pod.py",
    "test_access.py",
    "test_airflow_id.py",
    "test_compat.py",
    "test_connection_fields.py",
    "test_outages.py",
)

#: Stories of a real Airflow of that version: scheduler, triggerer, API server and DAG processor.
REAL = Path("tests/end_to_end/running_airflow/test_kubeflow_faults.py")
STORIES = (
    "restarted_stops_nothing or marking_a_deferred_task or clearing_a_deferred_task or killed_around_its_submission "
    "or nobody_could_cancel_is_swept"
)


@pytest.fixture(params=["3.1", "3.2"])
def python(request: pytest.FixtureRequest) -> Path:
    """Return the interpreter of an environment with that Airflow."""
    environment = ROOT / ".venv" / f"airflow-{request.param}"
    if not (environment / ".installed").exists():
        pytest.skip(f"no Airflow {request.param}: make .venv/airflow-{request.param}/.installed")
    return environment / "bin" / "python"


def run(python: Path, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """Run Python without what this process's own environment would bring to it, and return what it prints."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST", "PYTHON"))
    }
    done = subprocess.run(
        [python, *arguments], cwd=ROOT, env=inherited | (env or {}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def pytest_there(python: Path, *arguments: str | Path) -> str:
    return run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)


def test_the_tests_of_the_provider_pass_there(python: Path) -> None:
    assert " passed" in pytest_there(python, "--tier", "fast", *(HERE / test for test in TESTS))


@pytest.mark.airflow
@pytest.mark.pipelines
def test_a_real_airflow_there_loses_no_run_and_leaves_none_behind(python: Path) -> None:
    said = pytest_there(python, REAL, "-k", f"sqlite and ({STORIES})")
    assert "6 passed" in said
    assert "skipped" not in said


# The installation


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # Building writes beside the sources.
    subprocess.run(["cp", "-r", ROOT / "plugins" / "kubeflow_provider", source], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a new environment with Airflow 3.2 and nothing else."""
    environment = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    pip(python, "install", "--quiet", "apache-airflow==3.2.*")
    return python


def pip(python: Path, *arguments: str | Path) -> str:
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def packages(python: Path) -> set[str]:
    return set(pip(python, "list", "--format", "freeze").split())


@pytest.fixture(scope="module")
def server() -> Iterator[KfpServer]:
    with kfp_server() as server:
        server.script(None, ["PENDING", "RUNNING", "SUCCEEDED"])
        yield server


#: Imports all there is, and runs a pipeline as a task of no Airflow: on a server that follows a script.
PLAIN = """
import importlib, pkgutil, sys
from types import SimpleNamespace

import kubeflow_provider
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.operators.pipelines import RunPipelineOperator

for module in pkgutil.walk_packages(kubeflow_provider.__path__, "kubeflow_provider."):
    if module.name == "kubeflow_provider.operators._lineage":
        continue  # which Airflow's OpenLineage provider alone asks for
    try:
        importlib.import_module(module.name)
    except InvalidRequestError as error:
        print(module.name, error)

xcom = {}
ti = SimpleNamespace(
    dag_id="d", run_id="r", task_id="t", map_index=-1, max_tries=0, try_number=1, xcom_push=xcom.__setitem__,
    xcom_pull=lambda task_ids, key, map_indexes: xcom.get(key),
)
operator = RunPipelineOperator(
    task_id="t", pipeline_file=sys.argv[1], parameters={"file": "f"}, poll_interval_seconds=0.1, deferrable=False
)
print("ran", operator.execute({"ti": ti, "dag_run": SimpleNamespace(start_date=1)}))
"""


def test_pip_adds_the_provider_to_a_plain_airflow_and_changes_nothing_of_it(
    bare: Path, wheel: Path, server: KfpServer, record_and_wait: str, tmp_path: Path
) -> None:
    before = packages(bare)
    pip(bare, "install", "--quiet", wheel)
    added = packages(bare) - before

    assert before <= packages(bare), "what Airflow has brought is as it was"
    assert {package.partition("==")[0] for package in added} == {"airflow-provider-kubeflow"}
    assert "No broken requirements" in pip(bare, "check")

    env = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW_CONN_KUBEFLOW_PIPELINES_DEFAULT": f'{{"conn_type": "kubeflow_pipelines", "host": "{server.url}"}}',
        "AIRFLOW_VAR_KUBEFLOW_PROVIDER_AIRFLOW_ID": "11111111-1111-4111-8111-111111111111",
    }
    said = run(bare, "-c", PLAIN, record_and_wait, env=env).splitlines()
    assert f"ran {next(iter(server.runs))}" in said[-1]
    wanting = [line for line in said if line.startswith("kubeflow_provider.")]
    assert [line.partition(" ")[0] for line in wanting] == ["kubeflow_provider.kubernetes.client"]
    assert "pip install 'airflow-provider-kubeflow[kubernetes]'" in wanting[0]

    would = pip(bare, "install", "--dry-run", "--quiet", "--report", "-", f"{wheel}[kubernetes,openlineage]")
    assert "apache-airflow-providers-cncf-kubernetes" in would
    changed = {package.partition("==")[0] for package in before} & names_of(would)
    assert changed == set(), "the extras change nothing either"


def names_of(report: str) -> set[str]:
    import json

    return {item["metadata"]["name"].lower().replace("_", "-") for item in json.loads(report)["install"]}
