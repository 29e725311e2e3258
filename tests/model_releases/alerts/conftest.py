"""Receivers of alerts, and the place where Airflow keeps what was sent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from model_releases.alerts import delivery, outbox
from tests.alert_listener import Listener, alert_listener
from tests.supervisor import supervised


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PATIENT", (0.0, 0.0))


@pytest.fixture
def no_variables(airflow_database: None) -> None:
    """Take away the alerts that the tests before have left."""
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(Variable))


@pytest.fixture
def variables(no_variables: None) -> Iterator[None]:
    """Give access to Airflow's Variables, of which none are there at first."""
    with supervised():
        yield


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return ``connect(*addresses, conn_id=...)``, which makes a connection to receivers."""

    def make(*addresses: str, conn_id: str = "alerts_default") -> None:
        extra = {"config": [{"path": address} for address in addresses]}
        connection = json.dumps({"conn_type": "apprise", "extra": extra})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)

    return make


@pytest.fixture
def listen() -> Iterator[Callable[[], tuple[type[Listener], str]]]:
    """Return a function that starts an HTTP listener and returns it with its Apprise URL."""
    with contextlib.ExitStack() as listeners:
        yield lambda: listeners.enter_context(alert_listener())


@pytest.fixture
def stored(variables: None) -> Callable[[], list[outbox.Entry]]:
    """Return a function that returns what is in the outbox, the oldest first."""
    return lambda: sorted(outbox.entries(), key=lambda entry: entry.made_at)


@pytest.fixture
def titles() -> Callable[[Any], list[str]]:
    """Return a function that returns the titles which a listener has received."""
    return lambda listener: [alert["title"] for alert in listener.alerts]
