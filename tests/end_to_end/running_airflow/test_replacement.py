"""An Airflow that one file has hurt is not the next one's trouble: it is ended, and another one starts."""

from __future__ import annotations

import os
import signal

import pytest

from tests.airflow_server import Serve
from tests.waiting import wait_for

pytestmark = [pytest.mark.airflow, pytest.mark.long]

DAGS = """
    from airflow.sdk import DAG, task

    with DAG("says_so", schedule=None):
        task(lambda: "well", task_id="say")()
"""


def test_one_that_lost_its_scheduler_is_replaced_and_a_whole_one_is_kept(serve: Serve) -> None:
    first = serve({"says_so.py": DAGS}, {}, ("says_so",))
    assert serve({}, {}, ("says_so",)) is first, "nothing is wrong with it"
    os.kill(first.pid("scheduler"), signal.SIGKILL)
    wait_for(lambda: not first.is_whole, "its scheduler is missed")

    second = serve({"says_so.py": DAGS}, {}, ("says_so",))

    assert second is not first
    assert first.is_gone
    run = second.trigger("says_so")
    assert second.wait("says_so", run) == "success"
    assert second.xcom("says_so", run, "say") == "well"
