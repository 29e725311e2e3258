from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kubeflow_provider.exceptions import InvalidRequestError
from model_releases.alerts import prediction_notifier
from model_releases.alerts.alert import Severity
from model_releases.alerts.prediction_notifier import PredictionNotifier


@pytest.mark.parametrize(
    ("exception", "reason"),
    [(InvalidRequestError("No version is live."), "No version is live."), (None, "the task was ended")],
)
def test_a_prediction_that_failed_is_told_once_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, exception: Exception | None, reason: str
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(prediction_notifier, "send_alert", lambda alert, conn_id: sent.append((alert, conn_id)))
    monkeypatch.setattr(prediction_notifier, "dag_run_url", lambda context: "http://airflow/run")
    ti = SimpleNamespace(task_id="predict", dag_id="batch_predict_reviews")
    context: Any = {"ti": ti, "run_id": "manual__1", "exception": exception}

    PredictionNotifier(model="reviews", conn_id="alerts_default").notify(context)

    ((alert, conn_id),) = sent
    assert (alert.key, alert.severity) == ("prediction:batch_predict_reviews:manual__1", Severity.NORMAL)
    assert reason in alert.body
    assert "http://airflow/run" in alert.body
    assert conn_id == "alerts_default"
