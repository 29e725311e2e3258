"""What a running Airflow does at its deadlines: one alert for each model that is too old, and each release too slow."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.airflow_server import AirflowServer, Serve
from tests.alert_listener import Listener
from tests.waiting import wait_for

pytestmark = pytest.mark.airflow

DAGS = """
    from datetime import timedelta

    from airflow.sdk import DAG, task

    from model_releases.alerts.deadlines import age_deadline, release_deadline

    # A busy machine may fail to start a task.
    retries = {"retries": 5, "retry_delay": timedelta(seconds=1)}

    with DAG(
        "watches",
        schedule=None,
        default_args=retries,
        deadline=[
            age_deadline(model, max_age_days=30, remind_after_hours=24, conn_id="deadline_alerts")
            for model in ("aged", "young")
        ],
    ):
        task(lambda: None, task_id="look")()

    with DAG(
        "takes_long",
        schedule=None,
        default_args=retries,
        deadline=release_deadline("aged", max_release_hours=1 / 3600, conn_id="deadline_alerts"),
    ):

        @task.sensor(mode="reschedule", poke_interval=5, timeout=600)
        def wait():
            from airflow.sdk import Variable

            return Variable.get("may_end", default="no") == "yes"

        wait()
"""


@pytest.fixture(scope="module")
def airflow(serve: Serve, alerts: tuple[type[Listener], str]) -> AirflowServer:
    receiver = {"conn_type": "apprise", "extra": {"config": {"path": alerts[1]}}}
    return serve({"deadlines.py": DAGS}, {"deadline_alerts": receiver}, ("watches", "takes_long"))


def test_airflow_tells_of_a_model_that_is_too_old_and_of_a_release_that_takes_too_long(
    airflow: AirflowServer, alerts: tuple[type[Listener], str]
) -> None:
    listener, _ = alerts

    def told() -> list[str]:
        return sorted(alert["title"] for alert in listener.alerts if "aged" in alert["title"])

    today = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    for model, version in (("aged", "20200101000000"), ("young", today)):
        seen = json.dumps({"live": version, "ongoing": {}})
        airflow.call("POST", "/variables", {"key": f"release_watch.{model}", "value": seen})
    slow = airflow.trigger("takes_long")
    watches = [airflow.trigger("watches") for _ in range(2)]
    wait_for(lambda: len(told()) == 2, "both alerts arrive")
    airflow.call("POST", "/variables", {"key": "may_end", "value": "yes"})
    assert [airflow.wait(*run) for run in (("takes_long", slow), *(("watches", run) for run in watches))] == [
        "success"
    ] * 3
    # Both runs of the watch have missed the same deadline; the later callback finds the alert of the other one.
    known = ("This alert has been sent already: WARNING: aged", "Another process is sending this alert: WARNING: aged")
    wait_for(lambda: any(text in airflow.output() for text in known), "the other run's deadline calls back")

    assert told()[0] == "WARNING: Release of aged has been under way for 0 min"
    assert told()[1].startswith("WARNING: aged is ")
    assert len(told()) == 2
    assert not [alert for alert in listener.alerts if "young" in alert["title"]]
