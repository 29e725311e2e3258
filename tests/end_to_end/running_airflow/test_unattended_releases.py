"""Releases that nobody asked for, in a running Airflow: started by events over its REST API, and held by the brakes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from model_releases.registry.service import Release
from tests.airflow_server import AirflowServer, Serve
from tests.end_to_end.running_airflow.conftest import Registry
from tests.waiting import wait_for

pytestmark = pytest.mark.airflow

DAG, URI = "release", "s3://bucket/reviews"
DAGS = """
    import time
    from datetime import timedelta
    from pathlib import Path

    from airflow.sdk import DAG, Asset, BaseOperator

    from include.contracts.schedule import ScheduleConfig
    from model_releases.operators.pre_execute.schedule_limits import ReleaseBrakes
    from model_releases.operators.report import ReportOperator


    class Work(BaseOperator):
        def execute(self, context):
            file = context["dag_run"].conf.get("until")
            while file and not Path(file).exists():
                time.sleep(0.2)


    brakes = ReleaseBrakes(schedule=ScheduleConfig(min_new_rows=100), model="reviews", data="{}", store_uri="file:///nowhere")
    asset = Asset("s3://bucket/reviews")
    tries = {"retries": 3, "retry_delay": timedelta(seconds=1)}
    with DAG("release", schedule=[asset], catchup=False, max_active_runs=1, default_args=tries):
        report = ReportOperator(
            task_id="report", model="reviews", version="20260102000000", candidate_uri="file:///nowhere/candidate.json"
        )
        Work(task_id="check", pre_execute=brakes, inlets=[asset]) >> Work(task_id="work") >> report
"""


@pytest.fixture(scope="module")
def airflow(serve: Serve, registry: Registry) -> AirflowServer:
    """A running Airflow with a release DAG of a model that has been live for an hour."""
    version = f"{datetime.now(UTC) - timedelta(hours=1):%Y%m%d%H%M%S}"
    live = Release(model="reviews", version=version, state=ReleaseState.LIVE, archive_uri="file:///nowhere/package")
    registry.service.register(live, metrics={})
    return serve({"unattended.py": DAGS}, {"registry_default": registry.connection}, (DAG,))


def announce(airflow: AirflowServer, rows: int) -> None:
    """Say that there are new data, as an uploader does."""
    (asset,) = [found for found in airflow.call("GET", "/assets")["assets"] if found["uri"] == URI]
    airflow.call("POST", "/assets/events", {"asset_id": asset["id"], "extra": {"rows": rows}})


def started_by_events(airflow: AirflowServer, number: int) -> dict[str, Any]:
    """Wait for the n-th run that an event started, and return it."""
    runs: list[dict[str, Any]] = []

    def are_started() -> bool:
        runs[:] = airflow.call("GET", f"/dags/{DAG}/dagRuns?run_type=asset_triggered&order_by=run_after")["dag_runs"]
        return len(runs) >= number

    wait_for(are_started, lambda: f"{number} runs: {runs}", pause=0.6)
    return runs[number - 1]


def test_too_few_new_rows_wait_for_more_and_one_release_answers_every_event(
    airflow: AirflowServer, tmp_path: Path
) -> None:
    announce(airflow, 40)
    first = started_by_events(airflow, 1)["dag_run_id"]
    assert airflow.wait(DAG, first) == "success"
    assert airflow.task(DAG, first, "work")["state"] == "skipped"
    reason = "40 new training rows since the live model, schedule.min_new_rows is 100"
    assert airflow.xcom(DAG, first, "check", "not_due") == reason
    outcome = airflow.xcom(DAG, first, "report", "outcome")
    assert (outcome["kind"], outcome["line"]) == ("not due", reason)

    # While a release runs, Airflow keeps events; then one release answers them all, those of the first run included.
    by_hand = airflow.trigger(DAG, {"until": str(tmp_path / "go on")})
    airflow.wait_for_task(DAG, by_hand, "check", ["running"])
    announce(airflow, 50)
    announce(airflow, 10)
    (tmp_path / "go on").touch()
    second = started_by_events(airflow, 2)["dag_run_id"]
    assert [airflow.wait(DAG, run) for run in (by_hand, second)] == ["success"] * 2
    assert [airflow.task(DAG, run, "work")["state"] for run in (by_hand, second)] == ["success"] * 2
    assert len(airflow.call("GET", f"/dags/{DAG}/dagRuns")["dag_runs"]) == 3
