"""Tells of drift and of a live model that is wrong too often, and asks for a release where the YAML says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.contracts.documents import DocumentError
from include.contracts.monitoring.drift import DRIFT_FOLDER, DriftDocument
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.links import airflow_url
from model_releases.alerts.conditions import Pace, follow
from model_releases.alerts.delivery import send_alert
from model_releases.alerts.drift import conditions
from model_releases.alerts.findings import Watched, recall, remember
from model_releases.memory.candidate import read_text
from model_releases.metrics import Metric, tell

if TYPE_CHECKING:
    from airflow.sdk import Context


class TellOfDriftOperator(BaseOperator):
    """Read what a comparison has found, tell what there is to tell, and return the features that have drifted.

    What goes on is told again after a while, and once more when it is over. Of too few requests nothing is said: what
    was known before neither begins nor ends.

    :param model: name of the model.
    :param run: folder of the comparison: its time as 14 digits (templated).
    :param store_uri: folder of the model in the model store.
    :param alert_conn_ids: severity -> connection of type ``apprise``, or ``none``.
    :param remind_after: what goes on is told again after so long.
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    """

    template_fields: Sequence[str] = ("run",)
    ui_color = "#cfe2f3"

    def __init__(
        self,
        *,
        model: str,
        run: str,
        store_uri: str,
        alert_conn_ids: Mapping[str, str],
        remind_after: timedelta = timedelta(days=1),
        store_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.run = run
        self.store_uri = store_uri
        self.alert_conn_ids = alert_conn_ids
        self.remind_after = remind_after
        self.store_conn_id = store_conn_id

    def execute(self, context: Context) -> list[str]:
        """Look and tell."""
        uri = f"{self.store_uri}/{DRIFT_FOLDER}/{self.run}/{DriftDocument.file}"
        try:
            found = DriftDocument.parse(read_text(uri, conn_id=self.store_conn_id), where=uri)
        except DocumentError as error:
            raise InvalidRequestError(str(error)) from None
        return self.tell(found, datetime.now(UTC))

    def tell(self, found: DriftDocument, now: datetime) -> list[str]:
        """Do it as if it were now."""
        url = airflow_url("releases", "models", self.model, "drift", self.run)
        on, unknown = conditions(found, report_url=url)
        memory = f"{self.model}.drift"
        before = recall(memory)
        pace = Pace(grace=timedelta(), remind_after=self.remind_after)
        ongoing, alerts = follow(self.model, before.ongoing, on, pace=pace, now=now, unknown=unknown)
        for alert in alerts:
            send_alert(alert, self.alert_conn_ids[alert.severity], now=now)
        remember(memory, Watched(live=found.version, ongoing=ongoing))
        drifted = [each.name for each in found.drifted]
        if found.is_enough:
            tell(Metric.DRIFTED_FEATURES, len(drifted), model=self.model)
        if live := found.of_live():
            tell(Metric.LIVE_ACCURACY, live.right / live.rows, model=self.model)
        self.log.info("%s %s: %s. Report: %s", self.model, found.version, _in_words(found), url)
        return drifted


class AskForReleaseOperator(BaseOperator):
    """Say by an event of its outlet that users send something else; without drift it is skipped, and says nothing.

    Whether a release starts is for the brakes of the release DAG: it counts as one that new data have started.

    :param drifted: what :class:`TellOfDriftOperator` has returned (templated).
    """

    template_fields: Sequence[str] = ("drifted",)
    ui_color = "#cfe2f3"

    def __init__(self, *, drifted: str | Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drifted = drifted

    def execute(self, context: Context) -> None:
        """Succeed when there is drift."""
        if not self.drifted or self.drifted == "[]":
            raise AirflowSkipException("Nothing has drifted.")
        self.log.info("A release is asked for: these have drifted: %s.", self.drifted)


def _in_words(found: DriftDocument) -> str:
    if not found.is_enough:
        return f"nothing can be said: {found.why_not}"
    return f"{len(found.drifted)} of {len(found.features)} features have drifted"
