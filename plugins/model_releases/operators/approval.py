"""Asks a person before a candidate is deployed, where the release asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseNotifier

from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.links import airflow_url
from model_releases.alerts import NOBODY, Alert, Severity, send_alert
from model_releases.alerts.text import body
from model_releases.kinds import kind_of
from model_releases.links import ReportLink, report_page_url
from model_releases.memory import xcoms
from model_releases.memory.evidence import insist, judged
from model_releases.memory.outcome import dag_run_url, first_xcom
from model_releases.memory.release_record import make_record, run_facts
from model_releases.operators.base import ReleaseStep

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.contracts.candidate import Candidate


class ReleaseApprovalOperator(ReleaseStep, ApprovalOperator):
    """Wait for a yes or no in Airflow's UI; no answer in time is a no. A no skips the rest and is recorded.

    The question shows the digest of the archive, and a yes counts for that one alone: a changed archive, document or
    report is refused, before the question and after the answer. XCom: ``approval``, the facts for the registry:
    ``approval`` (``yes``, ``no`` or ``not asked``), ``approved_by`` and ``approved_at``, both of the answer whatever it
    was, ``approved_sha256``, the archive's digest; ``report_url``.

    :param required: whether to ask at all: a bool, or a template that renders to ``True`` or ``False``.
    :param approvers: ids of the only users who may answer, as Airflow's auth manager knows them; empty: everybody who
        may act on the DAG's tasks.
    :param show_texts: whether the question shows rows on which candidate and live model disagree. They are users'
        texts, which Airflow then keeps in its database.
    :param alert_conn_id: connection of type ``apprise`` to whoever is told, quietly, that an answer is waited for.
    :raises ReleaseRefusedError: when something of the candidate was changed after the gate.
    """

    template_fields = (*ReleaseStep.template_fields, *ApprovalOperator.template_fields, "required")
    operator_extra_links = (ReportLink(),)

    def __init__(
        self,
        *,
        required: bool | str = True,
        approvers: Sequence[str] = (),
        show_texts: bool = True,
        alert_conn_id: str = NOBODY,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject=kwargs.pop("subject", ""),
            defaults=kwargs.pop("defaults", self.REJECT),
            assigned_users=[{"id": user, "name": user} for user in approvers] or None,
            **kwargs,
        )
        self.subject = self.subject or f"Release {self.model} {self.version}?"
        self.required = required
        self.show_texts = show_texts
        self.alert_conn_id = alert_conn_id

    def execute(self, context: Context) -> Any:
        """Ask, unless nobody is to be asked."""
        candidate = self._read_judged(context)
        report_url = report_page_url(candidate)
        context["ti"].xcom_push(key=xcoms.REPORT_URL, value=report_url)
        if str(self.required).lower() != "true":
            self.log.info("This release does not ask for an approval.")
            context["ti"].xcom_push(key=xcoms.APPROVAL, value={"approval": "not asked"})
            return None
        decision = first_xcom(context, sorted(self.get_flat_relative_ids(upstream=True)), xcoms.DECISION)
        # Set here and not rendered: a text of a user may look like a template.
        card = kind_of(candidate).approval_card
        self.body = card(decision=decision, report_url=report_url, show_texts=self.show_texts)
        alert = self._question(context, decision=decision, report_url=report_url)
        self.notifiers = [*self.notifiers, _AlertNotifier(alert, self.alert_conn_id)]
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer, and go on or skip the rest."""
        if "error" in event:
            return super().execute_complete(context, event)
        approved = event["chosen_options"] == [self.APPROVE]
        answer = {
            "approval": "yes" if approved else "no",
            "approved_by": (event["responded_by_user"] or {}).get("name", ""),
            "approved_at": event["responded_at"].astimezone(UTC).isoformat(timespec="seconds"),
        }
        if approved:
            answer["approved_sha256"] = self._read_judged(context).archive.sha256
        context["ti"].xcom_push(key=xcoms.APPROVAL, value=answer)
        if not approved:
            # First of all: skipping what follows ends this method with an exception.
            self._record_no(context, answer)
        return super().execute_complete(context, event)

    def _read_judged(self, context: Context) -> Candidate:
        """Return the candidate, when it is what the gate has judged, byte for byte."""
        candidate = self.read_candidate()
        if self.candidate_sha256 is not None:
            insist(candidate, str(self.candidate_uri), judged(context), conn_id=self.store_conn_id)
        return candidate

    def _record_no(self, context: Context, answer: dict[str, str]) -> None:
        user = answer["approved_by"]
        reason = f"not approved by {user}" if user else "not approved: nobody answered in time"
        self.log.info("Release %s %s: %s.", self.model, self.version, reason)
        registry = self.registry_service()
        known = registry.get_release(self.model, self.version)
        if known is not None and known.state.has_been_live:
            # Somebody has cleared the question of an old release. What that became is not for this answer to say.
            registry.add_facts(self.model, self.version, answer)
            return
        candidate = self.read_candidate()
        record = make_record(candidate, state=ReleaseState.REJECTED, reason=reason, **run_facts(context) | answer)
        registry.register(record, metrics=candidate.figures())

    def _question(self, context: Context, *, decision: str | None, report_url: str | None) -> Alert:
        ti, run_id, dag_id = context["ti"], context["run_id"], context["dag"].dag_id
        until = datetime.now(UTC) + self.response_timeout if self.response_timeout else None
        # Another life of the task, after a clear, is another question; a retry asks the same one again.
        life = (ti.max_tries or 0) - (self.retries or 0)
        return Alert(
            key=f"approval/{dag_id}/{run_id}/{self.task_id}/{life}",
            severity=Severity.QUIET,
            title=f"{self.model} {self.version} waits for an approval",
            body=body(
                {
                    "Model": self.model,
                    "Version": self.version,
                    "Gate": decision or "",
                    "No answer is a no after": f"{until:%Y-%m-%d %H:%M} UTC" if until else "",
                    "Who may answer": ", ".join(user["id"] for user in self.assigned_users or ()),
                    "Answer": airflow_url("dags", dag_id, "runs", run_id, "tasks", self.task_id, "required_actions"),
                    "Report": report_url or "",
                    "DAG run": dag_run_url(context),
                }
            ),
        )


class _AlertNotifier(BaseNotifier):
    """Sends one alert, when the question is there to be answered."""

    def __init__(self, alert: Alert, conn_id: str) -> None:
        super().__init__()
        self.alert = alert
        self.conn_id = conn_id

    def notify(self, context: Context) -> None:
        """Send it."""
        send_alert(self.alert, self.conn_id)
