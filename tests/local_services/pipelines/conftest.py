"""Where the runs of a test lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk import Connection

ROOT = Path(__file__).parents[3]


@pytest.fixture
def connection(tmp_path: Path, pipelines_python: str) -> Connection:
    extra = {"python": pipelines_python, "project_dir": str(ROOT), "runs_dir": str(tmp_path / "runs")}
    return Connection(conn_id="pipelines", conn_type="local_pipelines", extra=json.dumps(extra))
