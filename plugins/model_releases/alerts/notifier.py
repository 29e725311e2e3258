"""Tells somebody, once, how a release ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseNotifier, Context

from model_releases import ids
from model_releases.alerts.alert import Severity
from model_releases.alerts.delivery import send_alert
from model_releases.alerts.text import release_alert
from model_releases.memory import xcoms
from model_releases.memory.failures import Failure, describe, first_failure, remember_failure, task_states
from model_releases.memory.outcome import Outcome, OutcomeKind, dag_run_url, first_xcom, roll_back_result

_REPORTED_STATES = frozenset({"running", "success", "failed"})

log = logging.getLogger(__name__)


class ReleaseNotifier(BaseNotifier):
    """Send one alert about a release that failed, was rejected or was stopped, through Apprise.

    Give it to the report as ``on_failure_callback`` and ``on_success_callback``, and to the DAG as a net for runs
    whose report never came to its end. The same end of the same DAG run is not told twice. Whatever becomes of the
    alert, the release itself is not touched.

    :param model: name of the model (templated).
    :param version: version of the release (templated).
    :param conn_id: Airflow connection of type ``apprise`` (templated), or one for each
        :class:`~model_releases.alerts.Severity`; ``none`` tells nobody, and so does one that is not there.
    :param tells_success: whether a release that went live is told as well, quietly.
    :param report_task_id: the :class:`~model_releases.operators.report.ReportOperator` of the DAG.
    :param roll_back_task_id: the task that rolls back.
    """

    def __init__(
        self,
        *,
        model: str,
        version: str,
        conn_id: str | Mapping[str, str] = "alerts_default",
        tells_success: bool = False,
        report_task_id: str = ids.REPORT,
        roll_back_task_id: str = ids.ROLL_BACK,
    ) -> None:
        super().__init__()
        self.model = model
        self.version = version
        self.conn_ids = {level: conn_id if isinstance(conn_id, str) else conn_id[level] for level in Severity}
        self.tells_success = tells_success
        self.report_task_id = report_task_id
        self.roll_back_task_id = roll_back_task_id

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Render nothing here, see :meth:`_rendered`; the DAG as it was stored could not do it either."""

    def notify(self, context: Context) -> None:
        """Send the alert, unless it was sent already."""
        from airflow.sdk.execution_time import task_runner

        if not hasattr(task_runner, "SUPERVISOR_COMMS") or not hasattr(context["dag"], "get_template_env"):
            # `airflow dags test` runs a DAG's callbacks where nothing of the run can be read, or with the DAG as it
            # was stored, which renders nothing; the report's own callback has run in its task.
            log.info("The callback of the DAG run has no access to it; an alert is left to the report.")
            return
        if context.get("exception") is not None and "ti" in context:
            # This callback may stand in the place of the one that all tasks have.
            remember_failure(context)
        alert = release_alert(
            self._outcome(context),
            dag_id=context["dag"].dag_id,
            run_id=context["run_id"],
            tells_success=self.tells_success,
        )
        if alert is not None:
            send_alert(alert, self._rendered(self.conn_ids[alert.severity], context))

    def _outcome(self, context: Mapping[str, Any]) -> Outcome:
        states = task_states(context)
        if states.get(self.report_task_id) in _REPORTED_STATES and (
            document := first_xcom(context, [self.report_task_id], xcoms.OUTCOME)
        ):
            return Outcome.from_json(document)
        failure = first_failure(context) or _failure_of(context)
        return Outcome(
            model=self._rendered(self.model, context),
            version=self._rendered(self.version, context),
            kind=OutcomeKind.FAILED,
            line=failure.message,
            failure=failure,
            roll_back=roll_back_result(states.get(self.roll_back_task_id)),
            roll_back_failure=first_failure(context, [self.roll_back_task_id]),
            serving_now="not known: the release ended before its report",
            links={"DAG run": dag_run_url(context)},
        )

    def _rendered(self, template: str, context: Any) -> str:
        # Rendered here and not as a template field: those change the notifier for good, and in `airflow dags test`
        # the next run of the same DAG would speak of this one. The dag-processor may know no more than the run's id.
        if "{{" not in template:
            return template
        if "dag_run" not in context:
            return f"(run {context['run_id']})"
        environment = self.get_template_env(dag=context.get("dag"))
        return str(self.render_template(template, context, environment))


def _failure_of(context: Mapping[str, Any]) -> Failure:
    exception, ti = context.get("exception"), context.get("ti")
    if isinstance(exception, BaseException) and ti is not None:
        return describe(ti.task_id, exception)
    reason = context.get("reason") or "no reason given"
    return Failure(task_id="", error="", message=f"the DAG run ended as failed: {reason}")
