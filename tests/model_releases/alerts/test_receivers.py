"""What a receiver is sent of an alert that is longer than it takes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import requests

from model_releases.alerts import Alert, Severity
from model_releases.alerts.receivers import Answer, read_receivers

_REASON = "\n".join(f"line {number} <of> the log & its words" for number in range(400))
_BODY = f"Model: reviews\nReason: {_REASON}\nServing now: reviews 20251231000000\nRoll back: not needed"


class Response:
    """Of a service, to what it was sent."""

    content, text, headers = b"{}", "{}", {}

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code

    def json(self) -> dict[str, bool]:
        """As Telegram says it."""
        return {"ok": True}


@pytest.mark.parametrize(
    ("address", "limit", "status"),
    [
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", 2000, 204),
        ("tgram://123456789:abcdefg_hijklmnop/12315544", 4096, 200),
    ],
)
def test_no_message_is_longer_than_the_service_takes(
    monkeypatch: pytest.MonkeyPatch, address: str, limit: int, status: int
) -> None:
    sent: list[str] = []

    def post(url: str, data: Any = None, **options: Any) -> Response:
        document = json.loads(data)
        sent.append(document.get("content") or document.get("text") or "")
        return Response(status)

    monkeypatch.setattr("requests.post", post)
    connection = {"conn_type": "apprise", "extra": {"config": {"path": address}}}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS_TEST", json.dumps(connection))
    (receiver,) = read_receivers("alerts_test")

    alert = Alert(key="k", severity=Severity.LOUD, title="release failed", body=_BODY)
    assert receiver.tell(alert) is Answer.TAKEN
    assert max(map(len, sent)) <= limit
    told = "\n".join(sent)
    for part in ("release failed", "Model: reviews", "shortened for this receiver", "Roll back: not needed"):
        assert part in told


@pytest.mark.parametrize(
    "address",
    [
        "jsons://example.com/hook",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
        "pagerduty://0123456789abcdef0123456789abcdef@01234567890123456789012345678901",
    ],
    ids=lambda address: address.partition(":")[0],
)
def test_a_service_that_refuses_an_alert_is_told_from_one_that_takes_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    status, tries = 0, 0

    def answer(*_: Any, **options: Any) -> Response:
        nonlocal tries
        tries += 1
        if not status:
            raise requests.ConnectionError("refused")
        return Response(status)

    monkeypatch.setattr("requests.post", answer)
    monkeypatch.setattr("requests.request", answer)
    monkeypatch.setattr("apprise.NotifyBase.throttle", lambda *_, **options: None)
    connection = {"conn_type": "apprise", "extra": {"config": {"path": address}}}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS_TEST", json.dumps(connection))
    (receiver,) = read_receivers("alerts_test")
    alert = Alert(key="k", severity=Severity.LOUD, title="release failed", body="Model: reviews")
    caplog.set_level(logging.DEBUG)
    for status in (400, 413, 422):
        tries = 0
        assert receiver.tell(alert, pauses=(0, 0)) is Answer.REFUSED, status
        assert tries == 1
    for status in (0, 302, 401, 404, 429, 500, 503):
        tries = 0
        assert receiver.tell(alert, pauses=(0, 0)) is Answer.SILENT, status
        assert tries >= 3  # Apprise itself asks some services once more
    assert not [record for record in caplog.records if record.name.startswith(("apprise", "urllib3"))]
