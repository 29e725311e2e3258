"""Tells somebody, once, that a release failed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseNotifier, Context, Variable
from airflow.sdk.exceptions import AirflowNotFoundException

from kubeflow_provider.failures import Failure, describe, first_failure, remember_failure, task_states
from kubeflow_provider.outcome import (
    OUTCOME_XCOM_KEY,
    Outcome,
    OutcomeKind,
    RollBackResult,
    dag_run_url,
    first_xcom,
    roll_back_result,
)

if TYPE_CHECKING:
    from apprise import Apprise

#: Airflow Variable, followed by the model's name, that holds the keys of the alerts that arrived. Renaming it sends
#: the alerts of the runs that are under way once more.
SENT_ALERTS_VARIABLE = "release_alerts_sent."

_REMEMBERED_ALERTS = 100
_PAUSES_SECONDS = (1.0, 4.0)
_REPORTED_STATES = frozenset({"running", "success", "failed"})

log = logging.getLogger(__name__)


class ReleaseNotifier(BaseNotifier):
    """Send one alert about a failed release through Apprise. The same failure of the same DAG run is not sent twice.

    Give it to the report as ``on_failure_callback``, and to the DAG as a net for runs whose report never came to its
    end. A receiver that does not answer is tried three times; whatever comes of it, the release itself is not touched.

    :param model: name of the model (templated).
    :param version: version of the release (templated).
    :param conn_id: Airflow connection of type ``apprise`` (templated); without it nobody is alerted.
    :param report_task_id: the :class:`~kubeflow_provider.operators.report.ReportOperator` of the DAG.
    :param roll_back_task_id: the task that rolls back.
    """

    def __init__(
        self,
        *,
        model: str,
        version: str,
        conn_id: str = "alerts_default",
        report_task_id: str = "report",
        roll_back_task_id: str = "roll_back",
    ) -> None:
        super().__init__()
        self.model = model
        self.version = version
        self.conn_id = conn_id
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
        outcome = self._outcome(context)
        conn_id = self._rendered(self.conn_id, context)
        receivers = _receivers(conn_id)
        variable = f"{SENT_ALERTS_VARIABLE}{outcome.model}"
        sent = list(Variable.get(variable, default=None, deserialize_json=True) or [])
        for number, (path, receiver) in enumerate(receivers, start=1):
            key = _alert_key(context["run_id"], outcome, path)
            if key in sent:
                log.info("Receiver %d has been told of this failure already.", number)
            elif _send(receiver, outcome):
                sent = [*sent, key][-_REMEMBERED_ALERTS:]
                Variable.set(variable, sent, serialize_json=True)
                log.info("Receiver %d has been told that the release failed.", number)
            else:
                log.error(
                    "Receiver %d of connection %r did not take the alert. What it would have said:\n%s",
                    number,
                    conn_id,
                    alert_body(outcome),
                )

    def _outcome(self, context: Mapping[str, Any]) -> Outcome:
        states = task_states(context)
        if states.get(self.report_task_id) in _REPORTED_STATES and (
            document := first_xcom(context, [self.report_task_id], OUTCOME_XCOM_KEY)
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


def _receivers(conn_id: str) -> list[tuple[str, Apprise]]:
    """Return address and sender of every receiver that the connection names."""
    from airflow.providers.apprise.hooks.apprise import AppriseHook
    from apprise import Apprise

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        log.warning("Nobody is alerted: there is no connection %r. Make one of type apprise.", conn_id)
        return []
    try:
        config = AppriseHook(conn_id).get_config_from_conn(connection)
        paths = [str(entry["path"]) for entry in ([config] if isinstance(config, dict) else config)]
    except (KeyError, TypeError, ValueError):
        log.error('Nobody is alerted: `config` of connection %r should look like {"path": "<Apprise URL>"}.', conn_id)
        return []
    receivers = []
    for number, path in enumerate(paths, start=1):
        receiver = Apprise()
        with _quiet():
            understood = receiver.add(path)
        if understood:
            receivers.append((path, receiver))
        else:
            log.error("Connection %r: entry %d is no URL that Apprise understands.", conn_id, number)
    return receivers


def alert_title(outcome: Outcome) -> str:
    """Return the alert's first line; a failed roll back is louder than any other failure."""
    if outcome.roll_back is RollBackResult.FAILED:
        return f"CRITICAL: roll back of {outcome.model} {outcome.version} failed"
    return f"{outcome.title} failed"


def alert_body(outcome: Outcome) -> str:
    """Return what the person who is called needs to know."""
    failure = outcome.failure
    roll_back_failure = outcome.roll_back_failure if outcome.roll_back_failure != failure else None
    lines = {
        "Model": outcome.model,
        "Version": outcome.version,
        "Failed task": failure.task_id if failure else "",
        "Failed check": failure.check if failure else "",
        "Expected": failure.expected if failure else "",
        "Got": failure.got if failure else "",
        "Reason": "" if failure and failure.check else failure.message if failure else outcome.line,
        "Serving now": outcome.serving_now,
        "Roll back": outcome.roll_back.value,
        "Roll back failed with": roll_back_failure.message if roll_back_failure else "",
        "Endpoint": outcome.endpoint,
        **{name[:1].upper() + name[1:]: url for name, url in outcome.links.items()},
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items() if value)


def _failure_of(context: Mapping[str, Any]) -> Failure:
    exception, ti = context.get("exception"), context.get("ti")
    if isinstance(exception, BaseException) and ti is not None:
        return describe(ti.task_id, exception)
    reason = context.get("reason") or "no reason given"
    return Failure(task_id="", error="", message=f"the DAG run ended as failed: {reason}")


def _alert_key(run_id: str, outcome: Outcome, path: str) -> str:
    failure = outcome.failure
    parts = (
        run_id,
        failure.task_id if failure else "",
        failure.message if failure else "",
        outcome.roll_back.name,
        path,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _send(receiver: Apprise, outcome: Outcome) -> bool:
    from apprise import NotifyFormat, NotifyType

    loud = outcome.roll_back is RollBackResult.FAILED
    title, body = alert_title(outcome), alert_body(outcome)
    for pause in (*_PAUSES_SECONDS, None):
        with _quiet():
            if receiver.notify(
                title=title,
                body=body,
                notify_type=NotifyType.FAILURE if loud else NotifyType.WARNING,
                body_format=NotifyFormat.TEXT,
            ):
                return True
        if pause is not None:
            time.sleep(pause)
    return False


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep addresses out of the log: Apprise and urllib3 write them, and those of chat services hold a token."""
    loggers = [logging.getLogger(name) for name in ("apprise", "urllib3")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
