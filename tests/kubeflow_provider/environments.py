"""Other environments in which the provider's tests run: `make test-all` makes them in `.venv`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
STORIES = "tests/end_to_end/running_airflow/test_kubeflow_faults.py"
#: About a service of local_services, which is installed in none of them.
WITHOUT_OTHERS = ("-k", "not a_service_that_keeps_nothing_is_refused")


@pytest.fixture
def python(request: pytest.FixtureRequest) -> Path:
    """Return the interpreter of the environment that the test's parameter names."""
    environment = ROOT / ".venv" / request.param
    if not (environment / ".installed").exists():
        pytest.skip(f"not installed, or this machine has no such Python: make .venv/{request.param}/.installed")
    return environment / "bin" / "python"


def pytest_there(python: Path, *arguments: str | Path) -> str:
    """Run tests without what this process's own environment would bring to them, and return what pytest says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST", "PYTHON"))}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    return done.stdout
