"""Processes are found again by their mark, stopped whatever they do, and see nothing that is secret."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock
from uuid import uuid4

import psutil
import pytest

from include import marked_processes
from local_services.pipelines.marked_processes import MARK, child_environment, terminate_marked
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.pipelines


def test_stops_also_what_ignores_the_request(tmp_path: Path) -> None:
    mark = str(uuid4())
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | {MARK: mark}, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()

    terminate_marked(mark, grace_seconds=0.2)

    assert process.wait(timeout=LIMIT_SECONDS) == -signal.SIGKILL


def test_stops_also_a_process_whose_program_is_still_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    environments = iter([{}, {}, {MARK: "a mark"}])
    loading = Mock(
        pid=12345678,
        **{
            "environ.side_effect": lambda: next(environments, {MARK: "a mark"}),
            "cmdline.return_value": [],
            "ppid.return_value": 1,
            "status.return_value": psutil.STATUS_RUNNING,
        },
    )
    kernel_thread = Mock(
        pid=12345679, **{"environ.return_value": {}, "cmdline.return_value": [], "ppid.return_value": 2}
    )
    monkeypatch.setattr(psutil, "process_iter", lambda: [kernel_thread, loading])

    assert marked_processes.find(MARK, "a mark") == [loading]
    assert kernel_thread.environ.call_count == 1, "nobody waits for what never has an environment"


def test_children_inherit_what_they_need_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_X", "_AIRFLOW_X", "MY_FERNET_KEY", "ALERT_URL")
    for name in (*hidden, "SQL_ALCHEMY_CONN", "MLFLOW_BACKEND_STORE_URI", "GITHUB_TOKEN", "PYTHONHOME", "MY_HF_TOKEN"):
        monkeypatch.setenv(name, "secret")
    needed = ("AWS_ACCESS_KEY_ID", "HF_TOKEN", "MLFLOW_TRACKING_PASSWORD", "LC_ALL", "https_proxy", "OMP_NUM_THREADS")
    for name in needed:
        monkeypatch.setenv(name, "needed")
    monkeypatch.setenv("PYTHONPATH", "/other")
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("TEAM_STORE_KEY", "asked for")

    environment = child_environment("/env/bin/python", "/project", "mark", more=["TEAM_*"])

    assert "secret" not in environment.values()
    assert {name for name, value in environment.items() if value == "needed"} == set(needed)
    assert environment["TEAM_STORE_KEY"] == "asked for"
    assert "TEAM_STORE_KEY" not in child_environment("/env/bin/python", "/project", "mark")
    assert environment["PYTHONPATH"] == "/project"
    assert environment["PATH"].startswith("/env/bin:")
    assert environment["HF_HOME"] == "/models"
    assert environment[MARK] == "mark"
