"""The provider on newer Pythons than the oldest that it works with, each with Airflow and nothing else of this project.

How it installs there is tried in ``tests/plugins/test_stranger.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kubeflow_provider.environments import HERE, STORIES, WITHOUT_OTHERS, pytest_there, python

pytestmark = [
    pytest.mark.long,
    pytest.mark.processes,
    pytest.mark.parametrize("python", ["airflow-python3.12", "airflow-python3.13"], indirect=True),
]

__all__ = ("python",)  # a fixture


def test_all_tests_of_the_provider_that_start_nothing_pass_there(python: Path) -> None:
    files = [file for file in sorted(HERE.rglob("test_*.py")) if not needs_others(file)]

    assert " passed" in pytest_there(python, "--tier", "fast", *WITHOUT_OTHERS, *files)


def test_a_running_airflow_there_runs_a_pipeline_and_stops_it(python: Path) -> None:
    assert "1 passed" in pytest_there(python, "-k", "sqlite and marking_a_deferred_task_as_failed_stops", STORIES)


def needs_others(file: Path) -> bool:
    """Say whether a file of tests is about the other packages of this project too."""
    text = file.read_text(encoding="utf-8")
    return re.search(r"^from (local_services|model_releases|include)\b", text, re.M) is not None
