"""The provider on the minor versions of Airflow before the newest: each has an environment of its own.

`make test-all` makes them (`.venv/airflow-3.1` and so on). What needs the other packages of this project, which ask for
the newest, is left out there.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

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


@pytest.fixture(params=["3.1", "3.2"])
def python(request: pytest.FixtureRequest) -> Path:
    """Return the interpreter of an environment with that Airflow."""
    environment = ROOT / ".venv" / f"airflow-{request.param}"
    if not (environment / ".installed").exists():
        pytest.skip(f"no Airflow {request.param}: make .venv/airflow-{request.param}/.installed")
    return environment / "bin" / "python"


def pytest_there(python: Path, *arguments: str | Path) -> str:
    """Run tests without what this process's own environment would bring to them, and return what pytest says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST", "PYTHON"))}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_the_tests_of_the_provider_pass_there(python: Path) -> None:
    # A service of local_services, which is not installed there.
    others = ("-k", "not a_service_that_keeps_nothing_is_refused")

    assert " passed" in pytest_there(python, "--tier", "fast", *others, *(HERE / test for test in TESTS))


def test_a_running_airflow_there_loses_no_run_and_stops_none_by_mistake(python: Path) -> None:
    stories = (
        "a_triggerer_that_is_restarted_stops_nothing",
        "marking_a_deferred_task_as_failed_stops",
        "marking_a_running_task_as_failed_stops",
        "clearing_a_deferred_task_stops",
        "a_run_that_nobody_could_cancel_is_swept",
    )
    file = "tests/end_to_end/running_airflow/test_kubeflow_faults.py"

    assert "5 passed" in pytest_there(python, "-k", f"sqlite and ({' or '.join(stories)})", file)
