"""The provider on the minor versions of Airflow before the newest: each has an environment of its own.

What needs the other packages of this project, which ask for the newest, is left out there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kubeflow_provider.environments import HERE, STORIES, WITHOUT_OTHERS, pytest_there, python

pytestmark = [
    pytest.mark.long,
    pytest.mark.processes,
    pytest.mark.parametrize("python", ["airflow-3.1", "airflow-3.2"], indirect=True),
]

__all__ = ("python",)  # a fixture

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


def test_the_tests_of_the_provider_pass_there(python: Path) -> None:
    assert " passed" in pytest_there(python, "--tier", "fast", *WITHOUT_OTHERS, *(HERE / test for test in TESTS))


def test_a_running_airflow_there_loses_no_run_and_stops_none_by_mistake(python: Path) -> None:
    stories = (
        "a_triggerer_that_is_restarted_stops_nothing",
        "marking_a_deferred_task_as_failed_stops",
        "marking_a_running_task_as_failed_stops",
        "clearing_a_deferred_task_stops",
        "a_run_that_nobody_could_cancel_is_swept",
    )

    assert "5 passed" in pytest_there(python, "-k", f"sqlite and ({' or '.join(stories)})", STORIES)
