"""The watch between the releases: what it compares, when it speaks, and what it leaves in peace."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.exceptions import ServiceUnavailableError
from model_releases.alerts import NOBODY, Alert, Severity, delivery, findings, send_alert
from model_releases.alerts.delivery import GIVE_UP_AFTER
from model_releases.exceptions import AlertLostError, WatchFailedError
from model_releases.operators import watch as watching
from model_releases.operators.watch import (
    DeliverAlertsOperator,
    TestAlertsOperator,
    WatchReleaseOperator,
    WatchReleasesOperator,
)
from model_releases.registry.service import Release
from tests.alert_listener import Listener, alert_listener
from tests.supervisor import supervised

pytestmark = pytest.mark.airflow

MODEL = "reviews"
OLD, NEW = "20260101000000", "20260301000000"
START = datetime(2026, 3, 2, tzinfo=UTC)
ALL = dict.fromkeys(("quiet", "normal", "loud"), "alerts_default")


@pytest.fixture
def listener(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Listener]]:
    """Return a receiver of all alerts, and give access to Airflow's Variables, of which none are there at first."""
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    monkeypatch.setattr(delivery, "PATIENT", (0.0, 0.0))
    with create_session() as session:
        session.execute(delete(Variable))
    with contextlib.ExitStack() as stack:
        listener, url = stack.enter_context(alert_listener())
        connection = json.dumps({"conn_type": "apprise", "extra": {"config": {"path": url}}})
        monkeypatch.setenv("AIRFLOW_CONN_ALERTS_DEFAULT", connection)
        stack.enter_context(supervised())
        yield listener


@pytest.fixture
def record(registry: Any) -> Callable[[str], None]:
    """Return a function that makes a version the live one of the registry."""

    def make(version: str) -> None:
        release = Release(model=MODEL, version=version, state=ReleaseState.CANDIDATE, archive_uri="s3://models/1")
        registry.register(release, metrics={})
        registry.set_state(MODEL, version, ReleaseState.LIVE)

    return make


def watch(**settings: Any) -> WatchReleaseOperator:
    return WatchReleaseOperator(task_id="watch", model=MODEL, alert_conn_ids=ALL, **settings)


def titles(listener: type[Listener]) -> list[str]:
    return [alert["title"] for alert in listener.alerts]


def test_before_the_first_release_no_serving_system_is_asked(
    listener: type[Listener], registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no connection to one.
    monkeypatch.delenv("AIRFLOW_CONN_SERVING_DEFAULT", raising=False)
    assert watch().look(START) == ""
    assert watch().look(START + timedelta(days=1)) == ""
    assert listener.alerts == []


def test_a_model_that_cannot_be_looked_at_keeps_nobody_from_the_others(
    listener: type[Listener], record: Callable[[str], None], serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(OLD)
    serving.promote(MODEL, OLD)
    ask = WatchReleaseOperator._ask

    def fail(self: WatchReleaseOperator) -> tuple[str, str]:
        return (1 / 0, "") if self.model == "broken" else ask(self)  # type: ignore[return-value]

    monkeypatch.setattr(WatchReleaseOperator, "_ask", fail)
    models = ("first", "broken", MODEL)
    several = WatchReleasesOperator(
        task_id="watch", watches=[{"model": model, "alert_conn_ids": ALL} for model in models]
    )
    with pytest.raises(WatchFailedError, match=r"1 of 3 models could not be watched: broken\."):
        several.execute({})
    assert findings.recall(MODEL).live == OLD
    monkeypatch.setattr(WatchReleaseOperator, "_ask", ask)
    assert several.execute({}) == {"first": "", "broken": "", MODEL: OLD}


def test_a_registry_that_disagrees_for_longer_than_the_grace_is_told_loudly_until_it_agrees(
    listener: type[Listener], record: Callable[[str], None], serving: Any
) -> None:
    record(OLD)
    serving.promote(MODEL, OLD)
    assert watch().look(START) == OLD
    serving.promote(MODEL, NEW)  # and nobody records it
    for minutes in (15, 30, 44):
        watch().look(START + timedelta(minutes=minutes))
    assert listener.alerts == []
    for minutes in (45, 60, 75):
        watch().look(START + timedelta(minutes=minutes))
    (alert,) = listener.alerts
    assert (alert["type"], alert["title"]) == ("failure", f"CRITICAL: registry and serving disagree on {MODEL}")
    assert f"Registry: {OLD}\nServing: {NEW}\n" in alert["message"]

    record(NEW)
    for minutes in (90, 105):
        watch().look(START + timedelta(minutes=minutes))
    assert titles(listener)[1:] == [f"INFO: registry and serving agree on {MODEL} again"]


def test_a_live_version_whose_record_has_lost_its_state_gets_it_back(
    listener: type[Listener], record: Callable[[str], None], registry: Any, serving: Any
) -> None:
    record(NEW)
    serving.promote(MODEL, NEW)
    lost = Release(model=MODEL, version=NEW, state=ReleaseState.CANDIDATE, archive_uri="s3://models/1")
    registry.restore(lost)  # as a form that was open meanwhile does
    watch().look(START)

    found = registry.get_release(MODEL, NEW)
    assert found.state is ReleaseState.LIVE
    assert "watch_releases wrote it down again" in found.reason
    assert listener.alerts == []


def test_the_metrics_say_how_old_the_live_version_is_and_when_somebody_last_looked(
    listener: type[Listener], record: Callable[[str], None], serving: Any, told: list[Any], monkeypatch: Any
) -> None:
    age, look = "model_release.live_version_timestamp_seconds", "model_release.watched_timestamp_seconds"
    of = {"model": MODEL}
    watch().look(START)
    assert told == [(age, 0, of), (look, START.timestamp(), of)]
    record(OLD)
    serving.promote(MODEL, OLD)
    watch().look(START)
    assert told[2:] == [(age, datetime(2026, 1, 1, tzinfo=UTC).timestamp(), of), (look, START.timestamp(), of)]
    monkeypatch.setattr(serving, "get_live", lambda model: 1 / 0)
    with contextlib.suppress(ZeroDivisionError):
        watch().look(START)
    assert len(told) == 4, "nobody has found out"


def test_nothing_served_where_the_registry_says_so_is_a_disagreement(
    listener: type[Listener], record: Callable[[str], None], serving: Any
) -> None:
    record(OLD)
    watch(disagreement_grace=timedelta()).look(START)
    (alert,) = listener.alerts
    assert f"Registry: {OLD}\nServing: nothing answers" in alert["message"]


def test_a_service_that_cannot_be_asked_is_told_and_leaves_what_is_known_as_it_is(
    listener: type[Listener], record: Callable[[str], None], serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(OLD)
    serving.promote(MODEL, NEW)
    watch().look(START)

    def refuse(model: str) -> None:
        raise ServiceUnavailableError("TorchServe does not answer.")

    with monkeypatch.context() as down:
        down.setattr(serving, "get_live", refuse)
        for minutes in (15, 30, 45, 60):
            assert watch().look(START + timedelta(minutes=minutes)) == NEW
        (alert,) = listener.alerts
        assert (alert["type"], alert["title"]) == ("warning", f"WARNING: {MODEL} cannot be watched")
        assert "Reason: TorchServe does not answer." in alert["message"]
    watch().look(START + timedelta(minutes=75))
    assert titles(listener)[1:] == [
        f"CRITICAL: registry and serving disagree on {MODEL}",
        f"INFO: {MODEL} can be watched again",
    ]


def test_a_model_that_was_too_old_and_has_been_renewed_is_told_quietly(
    listener: type[Listener], record: Callable[[str], None], serving: Any
) -> None:
    watched = watch(max_age=timedelta(days=30))
    record(OLD)
    serving.promote(MODEL, OLD)
    watched.look(START)
    record(NEW)
    serving.promote(MODEL, NEW)
    for minutes in (15, 30):
        watched.look(START + timedelta(minutes=minutes))
    (alert,) = listener.alerts
    assert (alert["type"], alert["title"]) == ("info", f"INFO: {MODEL} has been renewed")


def test_alerts_of_each_severity_go_where_the_model_sends_them(
    listener: type[Listener], record: Callable[[str], None], serving: Any
) -> None:
    record(OLD)
    loud_only = {"quiet": NOBODY, "normal": NOBODY, "loud": "alerts_default"}
    operator = WatchReleaseOperator(
        task_id="watch", model=MODEL, alert_conn_ids=loud_only, disagreement_grace=timedelta()
    )
    operator.look(START)
    serving.promote(MODEL, OLD)
    operator.look(START + timedelta(minutes=15))
    assert titles(listener) == [f"CRITICAL: registry and serving disagree on {MODEL}"]


def test_the_task_says_how_many_waited_and_fails_for_those_that_are_given_up(
    listener: type[Listener], run_dag: Callable[..., Any], xcom: Callable[..., Any], told: list[Any]
) -> None:
    def alert(key: str) -> Alert:
        return Alert(key=key, severity=Severity.NORMAL, title=f"alert {key}", body="Model: reviews")

    deliver = DeliverAlertsOperator(task_id="deliver")
    now = datetime.now(UTC)
    listener.refuse = 1000
    send_alert(alert("young"), "alerts_default", now=now)
    assert deliver.execute({}) == {"sent": 0, "waiting": 1, "lost": 0}
    assert told == [("model_release.alerts_undelivered", 1, {})]
    send_alert(alert("old"), "alerts_default", now=now - GIVE_UP_AFTER - timedelta(hours=1))
    with pytest.raises(AlertLostError, match=r"1 alerts were not taken within 7 days .* WARNING: alert old"):
        deliver.execute({})
    listener.refuse = 0
    assert deliver.execute({}) == {"sent": 1, "waiting": 0, "lost": 0}
    assert [value for _, value, _ in told] == [1, 2, 0]
    assert titles(listener) == ["WARNING: alert young"]


@pytest.mark.usefixtures("no_alerts_wait")
def test_one_test_alert_of_each_severity_is_sent_and_a_silent_receiver_is_named(
    listener: type[Listener], run_dag: Callable[..., Any]
) -> None:
    with DAG("try_the_alerts", schedule=None) as dag:
        TestAlertsOperator(task_id="send", model=MODEL, alert_conn_ids=ALL)
    assert run_dag(dag).state == "success"
    assert [(alert["type"], alert["title"]) for alert in listener.alerts] == [
        ("info", f"INFO: test alert of {MODEL}"),
        ("warning", f"WARNING: test alert of {MODEL}"),
        ("failure", f"CRITICAL: test alert of {MODEL}"),
    ]
    listener.refuse = 1000
    assert run_dag(dag).state == "failed"


@pytest.mark.parametrize("others", [None, "deployment", "roll back"])
def test_a_candidate_that_its_release_left_behind_is_taken_back_unless_somebody_is_at_it(
    registry: Any, serving: Any, monkeypatch: pytest.MonkeyPatch, others: str | None
) -> None:
    coming = "20260302000000"
    for version in (OLD, NEW, coming):
        facts = {"dag_id": "release", "dag_run_id": version}
        registry.register(Release(model=MODEL, version=version, state=ReleaseState.CANDIDATE, facts=facts), metrics={})
    monkeypatch.setattr(watching, "is_over", lambda context, dag_id, run_id: dag_id == "release" and run_id != coming)
    serving.promote(MODEL, OLD)  # it has all of the traffic: that is for people
    taken_back: list[str] = []
    monkeypatch.setattr(
        serving, "roll_back", lambda model, *, candidate, previous: taken_back.append(candidate), raising=False
    )
    monkeypatch.setattr(watching, "deployment_under_way", lambda context, *dag_ids: others == "deployment")
    monkeypatch.setattr(watching, "roll_back_under_way", lambda context, model: others == "roll back")

    watch()._take_back_what_was_left({})  # type: ignore[typeddict-item]

    assert taken_back == ([] if others else [NEW])
    assert {registry.get_release(MODEL, version).state for version in (OLD, coming)} == {ReleaseState.CANDIDATE}
    assert registry.get_release(MODEL, NEW).state is (ReleaseState.CANDIDATE if others else ReleaseState.FAILED)
