"""Looks after what is live between the releases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.hooks import get_serving_service
from model_releases import ids
from model_releases.alerts.alert import NOBODY, Alert, Severity
from model_releases.alerts.conditions import Condition, Pace, follow
from model_releases.alerts.delivery import GIVE_UP_AFTER, deliver_waiting, send_alert
from model_releases.alerts.findings import DISAGREEMENT, Watched, disagreement, recall, remember, renewed, unreachable
from model_releases.exceptions import AlertLostError, WatchFailedError
from model_releases.memory.active_runs import deployment_under_way, is_over, roll_back_under_way
from model_releases.memory.live import find_live
from model_releases.metrics import Metric, tell
from model_releases.registry import get_registry_service
from model_releases.versions import version_time

if TYPE_CHECKING:
    from airflow.sdk import Context

_STATE_LOST = "it is live; watch_releases wrote it down again after somebody else's write had undone it"
_LEFT_BEHIND = "its release ended before it was live, and rolled nothing back; watch_releases took it out of service"


class WatchReleaseOperator(BaseOperator):
    """Compare what the registry holds to be live with what answers, and say so when they differ for too long.

    It remembers what it found for the next look, and which version is live for the deadline of the model's age. A
    service that cannot be asked is told as well, and does not fail the task. A live version whose record has lost its
    state gets it back.

    A candidate whose release ended without rolling it back (its DAG run was marked failed, a worker and a triggerer
    were lost) is taken out of service, its part of the traffic included. One that has all of the traffic is left to
    people: that is a disagreement.

    :param model: name of the model.
    :param alert_conn_ids: severity -> connection of type ``apprise``, or ``none``.
    :param disagreement_grace: what is over sooner is never told: while a release is recorded, both may differ.
    :param remind_after: what goes on is told again after so long.
    :param max_age: age of the live version at which its deadline passes; ``None`` without one.
    :param release_dag_id: DAG that releases the model; default: its own. While it deploys, or people roll
        the model back, nothing is taken back.
    :param serving_conn_id: connection to the serving system.
    :param registry_conn_id: connection to the registry.
    """

    ui_color = "#cfe2f3"

    def __init__(
        self,
        *,
        model: str,
        alert_conn_ids: Mapping[str, str],
        disagreement_grace: timedelta = timedelta(minutes=30),
        remind_after: timedelta = timedelta(days=1),
        max_age: timedelta | None = None,
        release_dag_id: str | None = None,
        serving_conn_id: str = "serving_default",
        registry_conn_id: str = "registry_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.alert_conn_ids = alert_conn_ids
        self.disagreement_grace = disagreement_grace
        self.remind_after = remind_after
        self.max_age = max_age
        self.release_dag_id = release_dag_id or ids.release_dag(model)
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id

    def execute(self, context: Context) -> str:
        """Look, tell what there is to tell, and return the live version (empty without one)."""
        return self.watch(context)

    def watch(self, context: Context) -> str:
        """Do it for whichever task of this context."""
        live = self.look(datetime.now(UTC))
        try:
            self._take_back_what_was_left(context)
        except AirflowException as error:
            self.log.error("What releases may have left behind stays until the next look: %s", error)
        return live

    def _take_back_what_was_left(self, context: Context) -> None:
        registry = get_registry_service(self.registry_conn_id)
        # Read before the runs are: a release is seen as running before its candidate is recorded.
        candidates = registry.list_releases(self.model, state=ReleaseState.CANDIDATE)
        left = [found for found in candidates if is_over(context, *map(found.facts.get, ("dag_id", "dag_run_id")))]
        if not left or self._is_changing(context):
            return
        serving = get_serving_service(self.serving_conn_id)
        live = find_live(serving, registry, self.model)
        for release in left:
            now = registry.get_release(self.model, release.version)  # it may have ended in between
            if now and now.state is release.state and (live is None or live.version != release.version):
                self.log.warning("%s %s was left behind by its release: taken back.", self.model, release.version)
                serving.roll_back(self.model, candidate=release.version, previous=None)
                registry.set_state(self.model, release.version, ReleaseState.FAILED, reason=_LEFT_BEHIND)

    def _is_changing(self, context: Context) -> bool:
        """Say whether a release or a person is changing what is served."""
        return bool(
            deployment_under_way(context, self.release_dag_id, ids.take_over_dag(self.model))
            or roll_back_under_way(context, self.model)
        )

    def look(self, now: datetime) -> str:
        """Do it as if it were now."""
        before = recall(self.model)
        found: list[Condition] = []
        unknown: list[str] = []
        live = before.live
        try:
            recorded, live = self._ask()
            found += [
                condition for condition in [disagreement(self.model, recorded=recorded, serving=live)] if condition
            ]
            self.log.info("%s: live is %s; the registry says %s.", self.model, live or "none", recorded or "none")
            self._tell(live, now)
        except AirflowException as error:
            self.log.error("%s cannot be watched: %s", self.model, error)
            found.append(unreachable(self.model, str(error)))
            unknown.append(DISAGREEMENT)
        pace = Pace(grace=self.disagreement_grace, remind_after=self.remind_after)
        ongoing, alerts = follow(self.model, before.ongoing, found, pace=pace, now=now, unknown=unknown)
        for alert in (*alerts, *self._renewed(before.live, live, now)):
            send_alert(alert, self.alert_conn_ids[alert.severity], now=now)
        # Last: a look that dies before it is repeated, and its alerts are known by their keys.
        remember(self.model, Watched(live=live, ongoing=ongoing))
        return live

    def _tell(self, live: str, now: datetime) -> None:
        made = version_time(live)
        tell(Metric.LIVE_VERSION, made.timestamp() if made else 0, model=self.model)
        tell(Metric.WATCHED, now.timestamp(), model=self.model)

    def _ask(self) -> tuple[str, str]:
        """Return the live version in the registry and the one that answers, each empty without one."""
        registry = get_registry_service(self.registry_conn_id)
        if not registry.list_releases(self.model, limit=1):
            # Before the first release there is nothing to compare, and no serving system to wake up for it.
            return "", ""
        serving = get_serving_service(self.serving_conn_id)
        recorded, live = registry.get_live(self.model), find_live(serving, registry, self.model)
        if recorded and live and recorded.version == live.version and recorded.state is not ReleaseState.LIVE:
            self.log.warning("%s %s is live, and its record says %s: mended.", self.model, live.version, recorded.state)
            registry.set_state(self.model, live.version, ReleaseState.LIVE, reason=_STATE_LOST)
        return recorded.version if recorded else "", live.version if live else ""

    def _renewed(self, before: str, live: str, now: datetime) -> Iterator[Alert]:
        if self.max_age and (alert := renewed(self.model, before=before, live=live, max_age=self.max_age, now=now)):
            yield alert


class WatchReleasesOperator(BaseOperator):
    """Look after several models in one task, one after the other.

    Starting a task costs seconds of a processor, a look tenths of one: with hundreds of models a task for each would
    not be through before the next run is due. A model that cannot be looked at keeps nobody from the others.

    :param watches: for each model the arguments of :class:`WatchReleaseOperator`.
    :raises WatchFailedError: when some could not be looked at, once the others were.
    """

    ui_color = "#cfe2f3"

    def __init__(self, *, watches: Sequence[Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.watches = watches

    def execute(self, context: Context) -> dict[str, str]:
        """Look after all of them, and return model -> live version (empty without one)."""
        live: dict[str, str] = {}
        for watch in self.watches:
            try:
                live[watch["model"]] = WatchReleaseOperator(task_id=self.task_id, **watch).watch(context)
            except Exception:  # the others' turn, whatever it is
                self.log.exception("%s could not be watched.", watch["model"])
        failed = [watch["model"] for watch in self.watches if watch["model"] not in live]
        if failed:
            raise WatchFailedError(
                f"{len(failed)} of {len(self.watches)} models could not be watched: {', '.join(failed)}. "
                "This task's log says why for each of them; its retry looks after all again."
            )
        return live


class DeliverAlertsOperator(BaseOperator):
    """Send the alerts whose receivers did not answer before.

    :raises AlertLostError: when some have waited for too long and were given up.
    """

    ui_color = "#cfe2f3"

    def execute(self, context: Context) -> dict[str, int]:
        """Send them, and return how many were sent, wait on, and were lost."""
        delivery = deliver_waiting()
        tell(Metric.ALERTS_UNDELIVERED, len(delivery.waiting) + len(delivery.lost))
        for alert in delivery.waiting:
            self.log.warning("Still waiting: %s", alert.subject)
        if delivery.lost:
            raise AlertLostError(
                f"{len(delivery.lost)} alerts were not taken within {GIVE_UP_AFTER.days} days and are given up: "
                f"{'; '.join(alert.subject for alert in delivery.lost)}. Their texts are in this task's log. "
                "Mend their connection."
            )
        return {"sent": len(delivery.sent), "waiting": len(delivery.waiting), "lost": 0}


class TestAlertsOperator(BaseOperator):
    """Send one alert of each severity, so that somebody can see whether they arrive.

    :param model: name of the model (templated).
    :param alert_conn_ids: severity -> connection of type ``apprise``, or ``none`` (templated).
    :raises AlertLostError: when a receiver did not take its alert.
    """

    #: Not a test, whatever its name begins with.
    __test__ = False

    template_fields: Sequence[str] = ("model", "alert_conn_ids")
    ui_color = "#cfe2f3"

    def __init__(self, *, model: str, alert_conn_ids: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.alert_conn_ids = alert_conn_ids

    def execute(self, context: Context) -> None:
        """Send them."""
        silent = []
        for severity in Severity:
            conn_id = self.alert_conn_ids[severity]
            alert = Alert(
                key=f"test/{context['run_id']}/{context['ti'].try_number}/{severity.value}",
                severity=severity,
                title=f"test alert of {self.model}",
                body=f"Model: {self.model}\nSeverity: {severity.value}\nThis is a test: nothing is wrong.",
            )
            if not send_alert(alert, conn_id) and conn_id != NOBODY:
                silent.append(f"{severity.value} (connection {conn_id!r})")
        if silent:
            raise AlertLostError(
                f"Not everybody took the test alerts: {', '.join(silent)}. This task's log says who; mend the "
                "connection. What a receiver has not taken is sent again by watch_releases."
            )
