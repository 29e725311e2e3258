"""Alerts at real receivers, some of which are down for a while: nothing twice, nothing lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_releases.alerts import NOBODY, Alert, Severity, deliver_waiting, outbox, send_alert
from model_releases.alerts.delivery import GIVE_UP_AFTER, LEASE, REMEMBER_FOR
from model_releases.alerts.outbox import Entry
from model_releases.alerts.receivers import Answer, Receiver
from tests.alert_listener import SECRET_PATH
from tests.mail_server import mail_server

pytestmark = pytest.mark.airflow

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
CONN = "alerts_default"


def alert(key: str = "a", severity: Severity = Severity.NORMAL) -> Alert:
    return Alert(key=key, severity=severity, title=f"release {key} failed", body=f"Model: reviews\nKey: {key}")


@pytest.mark.parametrize(
    ("severity", "kind", "prefix"),
    [
        (Severity.QUIET, "info", "INFO: "),
        (Severity.NORMAL, "warning", "WARNING: "),
        (Severity.LOUD, "failure", "CRITICAL: "),
    ],
)
def test_the_severity_is_in_the_title_and_in_what_the_service_is_told(
    variables: None, connect: Any, listen: Any, severity: Severity, kind: str, prefix: str
) -> None:
    listener, url = listen()
    connect(url)
    assert send_alert(alert(severity=severity), CONN, now=NOW)
    (received,) = listener.alerts
    assert (received["type"], received["title"]) == (kind, f"{prefix}release a failed")


def test_the_same_alert_is_sent_once_and_another_one_too(variables: None, connect: Any, listen: Any) -> None:
    listener, url = listen()
    connect(url)
    for key in ("a", "a", "b", "a", "b"):
        assert send_alert(alert(key), CONN, now=NOW)
    deliver_waiting(now=NOW + timedelta(days=1))
    assert [received["title"] for received in listener.alerts] == [
        "WARNING: release a failed",
        "WARNING: release b failed",
    ]


def test_a_mail_server_that_was_full_gets_the_mail_later_and_the_other_receiver_is_not_told_twice(
    variables: None, connect: Any, listen: Any, stored: Callable[[], list[Entry]]
) -> None:
    listener, url = listen()
    with mail_server() as (mailbox, mail_url):
        connect(mail_url, url)
        mailbox.is_full = True
        assert not send_alert(alert(severity=Severity.LOUD), CONN, now=NOW)
        assert (len(listener.alerts), mailbox.mails, mailbox.refused) == (1, [], 3)

        first = deliver_waiting(now=NOW + timedelta(minutes=15))
        assert [waiting.key for waiting in first.waiting] == ["a"]
        assert mailbox.refused == 4

        mailbox.is_full = False
        second = deliver_waiting(now=NOW + timedelta(minutes=30))
        assert [sent.key for sent in second.sent] == ["a"]
        (mail,) = mailbox.mails
        assert mail["subject"] == "CRITICAL: release a failed"
        assert mail["to"] == "on-call@example.com"
        assert "Model: reviews" in mail.get_body(("plain", "html")).get_content()

        assert deliver_waiting(now=NOW + timedelta(minutes=45)).sent == ()
    assert len(listener.alerts) == 1
    assert [entry.is_settled for entry in stored()] == [True]


def test_all_that_waits_for_a_silent_receiver_costs_one_try_and_comes_in_order(
    variables: None, connect: Any, listen: Any, titles: Any
) -> None:
    listener, url = listen()
    connect(url)
    listener.refuse = 10
    for number, key in enumerate("abc"):
        send_alert(alert(key), CONN, now=NOW + timedelta(minutes=number))
    assert listener.calls == 9

    assert len(deliver_waiting(now=NOW + timedelta(hours=1)).waiting) == 3
    assert listener.calls == 10
    assert len(deliver_waiting(now=NOW + timedelta(hours=2)).sent) == 3
    assert titles(listener) == [f"WARNING: release {key} failed" for key in "abc"]


def test_what_another_process_is_sending_is_left_to_it_until_it_must_have_died(
    variables: None, connect: Any, listen: Any
) -> None:
    (listener, url), (other, other_url) = listen(), listen()
    connect(url, other_url)
    other.refuse = 3
    send_alert(alert(), CONN, now=NOW)
    (entry,) = list(outbox.entries())
    # As a process leaves it that was killed after it had told the first of two receivers.
    outbox.put(replace(entry, busy_until=NOW + LEASE))

    assert not send_alert(alert(), CONN, now=NOW + LEASE / 2)
    assert [waiting.key for waiting in deliver_waiting(now=NOW + LEASE / 2).waiting] == ["a"]
    assert (listener.calls, other.calls) == (1, 3)

    assert [sent.key for sent in deliver_waiting(now=NOW + LEASE).sent] == ["a"]
    assert (len(listener.alerts), len(other.alerts)) == (1, 1)


def test_an_alert_that_nobody_takes_for_a_week_is_given_up_once_with_its_text_in_the_log(
    variables: None, connect: Any, listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listener, url = listen()
    connect(url)
    listener.refuse = 1000
    send_alert(alert(), CONN, now=NOW)
    assert deliver_waiting(now=NOW + GIVE_UP_AFTER).lost == ()
    caplog.clear()
    assert [lost.key for lost in deliver_waiting(now=NOW + GIVE_UP_AFTER + timedelta(minutes=1)).lost] == ["a"]
    assert "Given up after 7 days" in caplog.text
    assert "Key: a" in caplog.text
    after = deliver_waiting(now=NOW + GIVE_UP_AFTER + timedelta(minutes=2))
    assert (after.sent, after.waiting, after.lost) == ((), (), ())


def test_what_was_sent_is_forgotten_after_a_month_and_what_waits_is_not(
    variables: None, connect: Any, listen: Any, stored: Callable[[], list[Entry]]
) -> None:
    _, url = listen()
    connect(url)
    send_alert(alert("old"), CONN, now=NOW)
    send_alert(alert("new"), CONN, now=NOW + REMEMBER_FOR)
    deliver_waiting(now=NOW + REMEMBER_FOR + timedelta(days=1))
    assert [entry.alert.key for entry in stored()] == ["new"]


def test_a_connection_that_was_wrong_gets_its_alerts_once_it_is_mended(
    variables: None, connect: Any, listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listener, url = listen()
    connect(f"nonsense://{SECRET_PATH}")
    assert not send_alert(alert(), CONN, now=NOW)
    assert "entry 1 is no URL that Apprise understands" in caplog.text
    connect(url)
    assert [sent.key for sent in deliver_waiting(now=NOW + timedelta(hours=1)).sent] == ["a"]
    assert len(listener.alerts) == 1


def test_a_receiver_that_joins_while_an_alert_waits_is_told_too_and_one_that_left_is_not_missed(
    variables: None, connect: Any, listen: Any
) -> None:
    (gone, gone_url), (joined, joined_url) = listen(), listen()
    connect(gone_url)
    gone.refuse = 1000
    send_alert(alert(), CONN, now=NOW)
    connect(joined_url)
    assert [sent.key for sent in deliver_waiting(now=NOW + timedelta(hours=1)).sent] == ["a"]
    assert (len(gone.alerts), len(joined.alerts)) == (0, 1)


@pytest.mark.parametrize("conn_id", [NOBODY, "not_there"])
def test_where_nobody_wants_alerts_none_is_kept(
    variables: None, stored: Callable[[], list[Entry]], caplog: pytest.LogCaptureFixture, conn_id: str
) -> None:
    caplog.set_level(logging.INFO)
    assert not send_alert(alert(), conn_id, now=NOW)
    assert stored() == []
    assert "WARNING: release a failed" in caplog.text


def test_no_address_is_logged_or_stored_however_badly_it_goes(
    variables: None,
    connect: Any,
    listen: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    listener, url = listen()
    listener.refuse = 1000
    connect(url)
    with caplog.at_level(logging.DEBUG):
        send_alert(alert(), CONN, now=NOW)
        deliver_waiting(now=NOW + GIVE_UP_AFTER + timedelta(hours=1))
    assert SECRET_PATH not in caplog.text + "".join(capfd.readouterr())
    with create_session() as session:
        rows = [row.get_val() + str(row.description) for row in session.scalars(select(Variable))]
    assert len(rows) == 1
    assert SECRET_PATH not in rows[0]


def test_a_variable_that_somebody_changed_stops_no_other_alert(
    variables: None, connect: Any, listen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk import Variable

    listener, url = listen()
    connect(url)
    listener.refuse = 3
    send_alert(alert(), CONN, now=NOW)
    for number, text in enumerate(["not JSON", "[]", json.dumps({"alert": {}})]):
        Variable.set(f"{outbox.PREFIX}{number}", text)
    assert [sent.key for sent in deliver_waiting(now=NOW + timedelta(hours=1)).sent] == ["a"]
    assert caplog.text.count("somebody has changed it") == 3


def test_what_a_task_sends_while_the_watch_is_at_work_is_not_sent_twice(
    variables: None, connect: Any, listen: Any, titles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, url = listen()
    connect(url)
    listener.refuse = 6
    for minutes, key in enumerate("ab"):
        send_alert(alert(key), CONN, now=NOW + timedelta(minutes=minutes))
    later = NOW + timedelta(hours=1)
    tell = Receiver.tell

    def meanwhile(receiver: Receiver, told: Alert, **options: Any) -> Answer:
        if told.key == "a":
            assert send_alert(alert("b"), CONN, now=later)
        return tell(receiver, told, **options)

    monkeypatch.setattr(Receiver, "tell", meanwhile)
    assert [sent.key for sent in deliver_waiting(now=later).sent] == ["a", "b"]
    assert titles(listener) == ["WARNING: release b failed", "WARNING: release a failed"]
