"""What a receiver is sent of an alert that is longer than it takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model_releases.alerts import Alert, Severity
from model_releases.alerts.receivers import read_receivers

_REASON = "\n".join(f"line {number} <of> the log & its words" for number in range(400))
_BODY = f"Model: reviews\nReason: {_REASON}\nServing now: reviews 20251231000000\nRoll back: not needed"


class Answer:
    """Of a service that took what it was sent."""

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

    def post(url: str, data: Any = None, **options: Any) -> Answer:
        document = json.loads(data)
        sent.append(document.get("content") or document.get("text") or "")
        return Answer(status)

    monkeypatch.setattr("requests.post", post)
    connection = {"conn_type": "apprise", "extra": {"config": {"path": address}}}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS_TEST", json.dumps(connection))
    (receiver,) = read_receivers("alerts_test")

    assert receiver.tell(Alert(key="k", severity=Severity.LOUD, title="release failed", body=_BODY))
    assert max(map(len, sent)) <= limit
    told = "\n".join(sent)
    for part in ("release failed", "Model: reviews", "shortened for this receiver", "Roll back: not needed"):
        assert part in told
