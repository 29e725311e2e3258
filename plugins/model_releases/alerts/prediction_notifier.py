"""Tells somebody, once, that a batch prediction has failed."""

from __future__ import annotations

from airflow.sdk import BaseNotifier, Context

from model_releases.alerts.alert import Alert, Severity
from model_releases.alerts.delivery import send_alert
from model_releases.memory.failures import describe
from model_releases.memory.outcome import dag_run_url


class PredictionNotifier(BaseNotifier):
    """Send one alert about a batch prediction that failed for good; give it to its task as ``on_failure_callback``.

    :param model: name of the model.
    :param conn_id: Airflow connection of type ``apprise``; ``none`` tells nobody, and so does one that is not there.
    """

    def __init__(self, *, model: str, conn_id: str = "alerts_default") -> None:
        super().__init__()
        self.model = model
        self.conn_id = conn_id

    def notify(self, context: Context) -> None:
        """Send it."""
        error, ti = context.get("exception"), context["ti"]
        failure = describe(ti.task_id, error) if isinstance(error, BaseException) else None
        body = {
            "Model": self.model,
            "Reason": failure.message if failure else "the task was ended",
            "What to do": "repair what it names and clear the task: it goes on with the rows that are left",
            "DAG run": dag_run_url(context),
        }
        alert = Alert(
            key=f"prediction:{ti.dag_id}:{context['run_id']}",
            severity=Severity.NORMAL,
            title=f"Batch prediction with {self.model} has failed",
            body="\n".join(f"{name}: {value}" for name, value in body.items() if value),
        )
        send_alert(alert, self.conn_id)
