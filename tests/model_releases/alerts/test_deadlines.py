"""The deadlines as Airflow stores, computes and misses them; tests/end_to_end has them in a running Airflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_releases.alerts import deadlines
from model_releases.alerts.conditions import Ongoing
from model_releases.alerts.deadlines import (
    LiveModelTrained,
    age_deadline,
    release_deadline,
    tell_of_age,
    tell_of_slow_release,
)
from model_releases.alerts.findings import WATCH_VARIABLE, Watched, remember
from model_releases.versions import version_time

pytestmark = pytest.mark.airflow

SETTINGS: dict[str, Any] = {
    "model": "reviews",
    "max_age_days": 30,
    "remind_after_hours": 24,
    "conn_id": "alerts_default",
}


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the references of plugins/alerts_plugin.py, by the names by which Airflow finds them."""
    from airflow import plugins_manager
    from airflow._shared.module_loading import qualname

    from alerts_plugin import AlertsPlugin

    registered = {qualname(reference): reference for reference in AlertsPlugin.deadline_references}
    monkeypatch.setattr(plugins_manager, "get_deadline_references_plugins", lambda: registered)


def context(state: str = "running", dag_id: str = "watch_releases", run_id: str = "run_1") -> dict[str, Any]:
    """Return what Airflow gives a callback, as far as it is read."""
    run = {"dag_id": dag_id, "dag_run_id": run_id, "state": state, "queued_at": "2026-01-02T03:04:05Z"}
    return {"dag_run": run, "deadline": {"id": "1", "deadline_time": datetime(2026, 1, 2, tzinfo=UTC)}}


def version_of(age: timedelta) -> str:
    return (datetime.now(UTC) - age).strftime("%Y%m%d%H%M%S")


@pytest.mark.parametrize("package", ["model_releases", "kubeflow_provider"], ids=["as now", "as in version 0.1.0"])
def test_the_age_is_counted_from_the_version_that_the_watch_saw_last(
    plugin: None, variables: None, package: str
) -> None:
    from airflow.serialization.decoders import decode_deadline_alert
    from airflow.serialization.encoders import encode_deadline_alert
    from airflow.utils.session import create_session

    encoded = encode_deadline_alert(age_deadline(**SETTINGS))
    assert encoded["reference"]["__class_path"] == "model_releases.alerts.deadlines.LiveModelTrained"
    encoded["reference"]["__class_path"] = f"{package}.alerts.deadlines.LiveModelTrained"
    stored = decode_deadline_alert({"__type": "deadline_alert", "__var": encoded})
    with create_session() as session:
        assert stored.reference.evaluate_with(session=session, interval=stored.interval) is None

    remember("reviews", Watched(live="20260102030405"))
    with create_session() as session:
        due = stored.reference.evaluate_with(session=session, interval=stored.interval, dag_id="x", run_id="y")
    assert due == datetime(2026, 2, 1, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["not JSON", "[]", '{"live": "somebody\'s own", "ongoing": {}}', '{"live": ""}'])
def test_the_scheduler_never_stumbles_over_what_is_remembered(variables: None, text: str) -> None:
    from airflow.sdk import Variable
    from airflow.utils.session import create_session

    Variable.set(f"{WATCH_VARIABLE}reviews", text)
    with create_session() as session:
        assert LiveModelTrained("reviews")._evaluate_with(session=session) is None


async def test_a_model_that_is_too_old_is_told_once_until_the_reminder_is_due(
    variables: None, connect: Any, listen: Any, titles: Callable[[Any], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, url = listen()
    connect(url)
    remember("reviews", Watched(live="20260101000000"))
    trained = version_time("20260101000000")
    assert trained is not None

    class Clock(datetime):
        moment = trained

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return cls.moment

    monkeypatch.setattr(deadlines, "datetime", Clock)
    for hours in (29 * 24, 30 * 24, 30 * 24 + 0.25, 30 * 24 + 23, 31 * 24, 31 * 24 + 1):
        Clock.moment = trained + timedelta(hours=hours)
        await tell_of_age(context(), **SETTINGS)
    assert titles(listener) == ["WARNING: reviews is 30 days old", "WARNING: reviews is 31 days old"]
    lines = listener.alerts[0]["message"].splitlines()
    assert lines[:4] == [
        "Model: reviews",
        "Live version: 20260101000000",
        "Trained: 2026-01-01 00:00 UTC",
        "Limit: 30 days",
    ]
    assert lines[-1] == "DAG run: http://localhost:8080/dags/watch_releases/runs/run_1"


async def test_a_model_that_was_replaced_since_its_deadline_was_computed_is_not_told(
    variables: None, connect: Any, listen: Any
) -> None:
    listener, url = listen()
    connect(url)
    remember("reviews", Watched(live=version_of(timedelta(days=1)), ongoing={"x": _ongoing()}))
    await tell_of_age(context(), **SETTINGS)
    assert listener.alerts == []


async def test_a_release_that_takes_too_long_is_told_once_and_one_that_has_ended_is_not(
    variables: None, connect: Any, listen: Any
) -> None:
    listener, url = listen()
    connect(url)
    settings: dict[str, Any] = {"model": "reviews", "max_release_hours": 12, "conn_id": "alerts_default"}
    for state in ("failed", "success"):
        await tell_of_slow_release(context(state, "release_reviews"), **settings)
    assert listener.alerts == []
    for state in ("queued", "running"):
        await tell_of_slow_release(context(state, "release_reviews"), **settings)
    (alert,) = listener.alerts
    assert alert["title"] == "WARNING: Release of reviews has been under way for 12 h"
    assert "Asked for: 2026-01-02 03:04 UTC" in alert["message"]
    assert "DAG run: http://localhost:8080/dags/release_reviews/runs/run_1" in alert["message"]


def test_a_deadline_does_not_change_from_one_parsing_of_its_dag_to_the_next() -> None:
    for make in (
        lambda: age_deadline(**SETTINGS),
        lambda: release_deadline("reviews", max_release_hours=1, conn_id="a"),
    ):
        assert make() == make()


def _ongoing() -> Ongoing:
    return Ongoing(since=datetime(2026, 1, 2, tzinfo=UTC), told=0, over="over")
