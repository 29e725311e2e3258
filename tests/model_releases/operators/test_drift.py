"""Drift and a live model that is wrong too often: told once, reminded of, and told when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.contracts.monitoring.drift import DriftDocument
from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.alerts import delivery
from model_releases.operators.monitoring.drift import AskForReleaseOperator, TellOfDriftOperator
from tests.alert_listener import Listener, alert_listener
from tests.supervisor import supervised

pytestmark = pytest.mark.airflow

START = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
MODEL, VERSION, RUN = "reviews", "20261101000000", "20261124043000"


@pytest.fixture
def listener(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Listener]]:
    """Return a receiver of all alerts, and give access to Airflow's Variables, of which none are there at first."""
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    monkeypatch.setattr(delivery, "PATIENT", (0.0, 0.0))
    with create_session() as session:
        session.execute(delete(Variable))
    with alert_listener() as (found, url):
        connection = json.dumps({"conn_type": "apprise", "extra": {"config": {"path": url}}})
        monkeypatch.setenv("AIRFLOW_CONN_ALERTS_DEFAULT", connection)
        with supervised():
            yield found


def document(
    *, drift: bool = False, enough: bool = True, accuracy: float | None = None, agreement: dict[str, Any] | None = None
) -> DriftDocument:
    features = [
        {"name": "characters", "distance": 0.4 if drift else 0.02, "is_drift": drift, "reference": "median 41"},
        {"name": "script", "distance": 0.05, "is_drift": False, "reference": "Latin 100.0%"},
    ]
    rows = {"version": VERSION, "slice": "", "rows": 100, "right": int(100 * (accuracy or 0)), "low": 0.0, "high": 0.9}
    return DriftDocument.model_validate(
        {
            "schema_version": 1,
            "model": MODEL,
            "created_at": "2026-11-24T04:31:00+00:00",
            "version": VERSION,
            "reference": "training",
            "first": "2026-11-23T04:30:00+00:00",
            "last": "2026-11-24T04:30:00+00:00",
            "requests": 500,
            "rows": 500,
            "broken_lines": 0,
            "is_enough": enough,
            "why_not": "" if enough else "12 captured requests, drift.min_requests asks for 200",
            "features": [{**each, "kind": "number", "p_value": 0.5, "requests": "median 80"} for each in features]
            if enough
            else [],
            "confidence": 0.95,
            "accuracy": [rows] if accuracy is not None else [],
            "least_accuracy": 0.95,
            "is_below_gate": accuracy is not None and accuracy < 0.9,
            "agreement": agreement,
            "report_uri": "file:///store/reviews/drift/20261124043000/report.html",
        }
    )


def teller(store_uri: str = "file:///nowhere", **settings: Any) -> TellOfDriftOperator:
    connections = dict.fromkeys(("quiet", "normal", "loud"), "alerts_default")
    return TellOfDriftOperator(
        task_id="tell", model=MODEL, run=RUN, store_uri=store_uri, alert_conn_ids=connections, **settings
    )


def titles(listener: type[Listener]) -> list[str]:
    return [alert["title"] for alert in listener.alerts]


def test_drift_is_told_once_and_again_when_it_is_over(listener: type[Listener]) -> None:
    tell = teller(remind_after=timedelta(days=7))

    assert tell.tell(document(), START) == []
    for days in (1, 2, 3):
        assert tell.tell(document(drift=True), START + timedelta(days=days)) == ["characters"]
    tell.tell(document(), START + timedelta(days=4))

    assert titles(listener) == [
        f"WARNING: {MODEL}: users send something else",
        f"INFO: {MODEL}: what users send has not drifted any more",
    ]
    message = listener.alerts[0]["message"]
    assert "characters (distance 0.40): median 41 before, median 80 now" in message
    assert f"/releases/models/{MODEL}/drift/{RUN}" in message


def test_too_few_requests_neither_begin_nor_end_it(listener: type[Listener]) -> None:
    tell = teller(remind_after=timedelta(days=7))
    tell.tell(document(enough=False), START)
    assert titles(listener) == []
    tell.tell(document(drift=True), START + timedelta(days=1))
    assert tell.tell(document(enough=False), START + timedelta(days=2)) == []
    tell.tell(document(drift=True), START + timedelta(days=3))

    assert len(listener.alerts) == 1


def test_a_model_that_is_wrong_too_often_is_told(listener: type[Listener]) -> None:
    tell = teller()
    tell.tell(document(accuracy=0.95), START)
    tell.tell(document(accuracy=0.8), START + timedelta(days=1))

    (alert,) = listener.alerts
    assert alert["title"] == f"WARNING: {MODEL} is wrong more often than its gate allows"
    assert "0.8000 of 100 rows whose labels have arrived, interval 0.0000 to 0.9000" in alert["message"]
    assert "Gate: at least 0.9500" in alert["message"]


def agreement(*, lower: bool = False, contrary: bool = False) -> dict[str, Any]:
    version = {"version": VERSION, "measured": 0.92, "measured_rows": 500, "online": 0.8, "rows": 300}
    bounds = {"correlation": -0.7, "low": -0.9, "high": -0.2} if contrary else {"correlation": 0.7, "low": 0, "high": 1}
    return {
        "versions": [version | {"low": -0.17, "high": -0.07}],
        "is_lower": lower,
        "tolerated": 0.05,
        "why_not": "",
        **bounds,
    }


def test_measurements_that_do_not_foretell_what_users_get_are_told_until_they_do(listener: type[Listener]) -> None:
    tell = teller(remind_after=timedelta(days=7))
    tell.tell(document(agreement=agreement()), START)
    tell.tell(document(agreement=agreement(lower=True)), START + timedelta(days=1))
    tell.tell(document(agreement=agreement(contrary=True)), START + timedelta(days=2))
    tell.tell(document(agreement=agreement()), START + timedelta(days=3))

    assert titles(listener) == [
        f"WARNING: {MODEL}: users get something else than was measured",
        f"INFO: {MODEL}: users get what was measured again",
    ]
    assert "0.9200 of 500 evaluation rows before the release, 0.8000 of 300 rows" in listener.alerts[0]["message"]


def test_it_reads_what_the_comparison_has_left(listener: type[Listener], tmp_path: Path) -> None:
    folder = tmp_path / "drift" / RUN
    folder.mkdir(parents=True)
    (folder / "drift.json").write_text(document(drift=True).model_dump_json(), encoding="utf-8")

    assert teller(tmp_path.as_uri()).execute({}) == ["characters"]

    (folder / "drift.json").write_text('{"schema_version": 1}', encoding="utf-8")
    with pytest.raises(InvalidRequestError, match="is not a valid drift"):
        teller(tmp_path.as_uri()).execute({})


@pytest.mark.parametrize("drifted", ["[]", "", []])
def test_without_drift_no_release_is_asked_for(drifted: Any) -> None:
    with pytest.raises(AirflowSkipException):
        AskForReleaseOperator(task_id="ask", drifted=drifted).execute({})


def test_with_drift_the_task_succeeds_and_its_outlet_has_an_event() -> None:
    AskForReleaseOperator(task_id="ask", drifted='["characters"]').execute({})
