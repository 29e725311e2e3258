"""Keeps every test run away from the Airflow of whoever runs it.

Airflow reads its settings when it is first imported, so they are set here, before any test module is.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

_home = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)

for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW__"))]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": _home,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PLUGINS_FOLDER": f"{_home}/plugins",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
}


@pytest.fixture(scope="session")
def pipelines_python() -> str:
    """Interpreter of the pipeline half's environment; ``PIPELINES_PYTHON`` names another one."""
    python = Path(os.environ.get("PIPELINES_PYTHON") or ROOT / ".venv" / "pipelines" / "bin" / "python")
    assert python.exists(), f"{python} does not exist: set up the pipeline half's environment, or set PIPELINES_PYTHON."
    return str(python)


@pytest.fixture(scope="session")
def record_and_wait() -> str:
    """Compiled pipeline whose first step writes a line to ``file`` and sleeps; its second one fails if asked to."""
    return str(ROOT / "tests" / "test_pipelines" / "record_and_wait.yaml")
