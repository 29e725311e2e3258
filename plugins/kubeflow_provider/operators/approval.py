"""Asks a person before a candidate is deployed, where the release asks for it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from kubeflow_provider.candidate import Candidate
from kubeflow_provider.hooks import REGISTRY_HOOKS, get_service
from kubeflow_provider.release_record import MAIN_METRICS, main_metrics, make_record, read_candidate, run_facts
from kubeflow_provider.states import ReleaseState

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReleaseApprovalOperator(ApprovalOperator):
    """Wait for a yes or no in Airflow's UI; no answer in time is a no. A no skips the rest and is recorded.

    :param model: name of the model (templated).
    :param version: version of the candidate (templated).
    :param candidate_uri: URI of ``candidate.json`` (templated).
    :param required: whether to ask at all: a bool, or a template that renders to ``True`` or ``False``.
    :param registry_conn_id: connection to the registry that records a no.
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    """

    template_fields: Collection[str] = (
        *ApprovalOperator.template_fields,
        "model",
        "version",
        "candidate_uri",
        "required",
    )

    def __init__(
        self,
        *,
        model: str,
        version: str,
        candidate_uri: str,
        required: bool | str = True,
        registry_conn_id: str = "registry_default",
        store_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject=kwargs.pop("subject", f"Release {model} {version}?"),
            defaults=kwargs.pop("defaults", self.REJECT),
            **kwargs,
        )
        self.model = model
        self.version = version
        self.candidate_uri = candidate_uri
        self.required = required
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id

    def execute(self, context: Context) -> Any:
        if str(self.required).lower() != "true":
            self.log.info("This release does not ask for an approval.")
            return None
        self.body = metrics_table(self._candidate())
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        if event.get("chosen_options") == [self.REJECT]:
            # First of all: skipping what follows ends this method with an exception.
            self._record_no(context, event["responded_by_user"])
        return super().execute_complete(context, event)

    def _record_no(self, context: Context, user: dict[str, Any] | None) -> None:
        reason = f"not approved by {user['name']}" if user else "not approved: nobody answered in time"
        candidate = self._candidate()
        record = make_record(candidate, state=ReleaseState.REJECTED, reason=reason, **run_facts(context))
        get_service(self.registry_conn_id, REGISTRY_HOOKS).register(record, metrics=main_metrics(candidate))
        self.log.info("Release %s %s: %s.", self.model, self.version, reason)

    def _candidate(self) -> Candidate:
        return read_candidate(self.candidate_uri, model=self.model, version=self.version, conn_id=self.store_conn_id)


def metrics_table(candidate: Candidate) -> str:
    """Return the metrics of candidate, live model and baseline as a Markdown table."""
    columns = [(name, candidate.metrics[name]) for name in ("candidate", "champion", "baseline")]
    lines = [
        "| on the same evaluation rows | candidate | live | baseline |",
        "|---|---|---|---|",
    ]
    for metric in MAIN_METRICS:
        cells = [f"{scores[metric]:.4f}" if scores else "none" for _, scores in columns]
        lines.append(f"| {metric.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)
