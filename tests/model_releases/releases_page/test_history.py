"""What a release is shown as."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from include.contracts.registry_tags import ReleaseState
from model_releases.registry.service import Release
from model_releases.releases_page.airflow_runs import AirflowRun
from model_releases.releases_page.history import merged, registered_row, shown_state, unregistered_row, web_address

VERSION, LATER = "20260101030000", "20260102030000"


def record(state: ReleaseState = ReleaseState.RETIRED, version: str = VERSION, **fields: Any) -> Release:
    return Release(model="reviews", version=version, state=state, **fields)


def run(version: str = VERSION, **fields: Any) -> AirflowRun:
    moment = datetime(2026, 1, 1, 3, tzinfo=UTC)
    return AirflowRun(
        dag_id="release", run_id=f"run-{version}", version=version, state="failed", run_after=moment, **fields
    )


def test_no_two_states_look_or_sound_alike() -> None:
    shown = [shown_state(state) for state in ReleaseState]
    assert len({state.word for state in shown}) == len(shown)
    assert len({state.sign for state in shown}) == len(shown)


def test_a_release_that_nothing_is_known_of_is_shown() -> None:
    row = registered_row(record(version="oddlynamed"), None, live_version=None)
    assert (row.main_metric, row.run, row.since, row.triggered) == (None, None, None, "")


def test_the_facts_become_columns_and_links() -> None:
    facts = {
        "metric.candidate.macro_f1": "0.9312",
        "dag_id": "release",
        "dag_run_id": "run",
        "pipeline_run_url": "https://kubeflow/run",
        "report_uri": "s3://store/report.html",
        "trigger": "scheduled",
        "data_changes": "lengths 0.310",
    }
    times = {ReleaseState.RETIRED: "2026-02-01T00:00:00+00:00"}
    row = registered_row(record(facts=facts, times=times, url="https://mlflow/1"), None, live_version=None)
    assert (row.main_metric, row.run, row.triggered) == (0.9312, ("release", "run"), "scheduled")
    assert (row.pipeline_url, row.registry_url, row.has_report) == ("https://kubeflow/run", "https://mlflow/1", True)
    assert row.since == datetime(2026, 2, 1, tzinfo=UTC)
    assert row.data == "lengths 0.310"


def test_the_main_metric_is_the_first_of_its_kind_of_model() -> None:
    facts = {"main_metrics": "recall:higher,seconds:lower", "metric.candidate.recall": "0.5"}
    assert registered_row(record(facts=facts), None, live_version=None).main_metric == 0.5


def test_a_run_that_airflow_still_has_names_its_user() -> None:
    row = registered_row(record(), run(user="ada", run_type="manual"), live_version=None)
    assert row.triggered == "ada (manual)"
    assert unregistered_row(run(run_type="asset_triggered")).triggered == "new data"


@pytest.mark.parametrize("text", ["javascript:alert(1)", "file:///etc/passwd", "//elsewhere", None, ""])
def test_no_address_but_that_of_a_web_page_becomes_a_link(text: str | None) -> None:
    assert web_address(text) == ""


@pytest.mark.parametrize(
    ("state", "can"),
    [
        (ReleaseState.RETIRED, True),
        (ReleaseState.ROLLED_BACK, True),
        (ReleaseState.LIVE, True),  # the serving system says that another one is
        (ReleaseState.CANDIDATE, False),
        (ReleaseState.REGISTERED, False),
        (ReleaseState.REJECTED, False),
        (ReleaseState.FAILED, False),
    ],
)
def test_what_was_live_can_be_put_back(state: ReleaseState, can: bool) -> None:
    assert registered_row(record(state), None, live_version=LATER).can_go_back is can
    assert not registered_row(record(state), None, live_version=VERSION).can_go_back
    deleted = record(state, facts={"archive_deleted_at": "2026-02-01T00:00:00+00:00"})
    assert not registered_row(deleted, None, live_version=LATER).can_go_back


def test_releases_that_failed_early_stand_where_they_belong() -> None:
    registered = [registered_row(record(version=version), None, live_version=None) for version in (LATER, VERSION)]
    early = [unregistered_row(run(version)) for version in ("20260101120000", VERSION)]
    rows = merged(registered, early)
    assert [(row.version, row.is_registered) for row in rows] == [
        (LATER, True),
        ("20260101120000", False),
        (VERSION, True),
    ]
