"""Lets good candidates through and records why the others were not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.utils.skipmixin import SkipMixin
from airflow.sdk import BaseOperator, TriggerRule

from kubeflow_provider.gate import GatePolicy, decide
from kubeflow_provider.hooks import REGISTRY_HOOKS, get_service
from kubeflow_provider.links import XCOM_REPORT_URL, ReportLink, report_page_url
from kubeflow_provider.release_record import main_metrics, make_record, read_candidate, run_facts
from kubeflow_provider.states import ReleaseState

if TYPE_CHECKING:
    from airflow.sdk import Context

#: XCom key of the gate's word in one line, whichever way it went.
DECISION_XCOM_KEY = "decision"

#: XCom key of the policy that it decided by.
POLICY_XCOM_KEY = "policy"

#: Tasks with these rules want to run whatever became of the tasks before them: a report, a clean-up.
_RUN_ANYWAY = frozenset({TriggerRule.ALL_DONE, TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, TriggerRule.ALWAYS})


class GateOperator(BaseOperator, SkipMixin):
    """Stop a candidate that is not good enough. That is an outcome and not an error: what follows is skipped.

    The tasks right behind the gate are skipped and Airflow carries that on to theirs; tasks whose trigger rule is
    ``all_done`` run all the same.

    :param model: name of the model (templated).
    :param version: version of the candidate (templated).
    :param candidate_uri: URI of ``candidate.json`` (templated).
    :param policy: settings of :class:`~kubeflow_provider.gate.GatePolicy` (templated; text is cast).
    :param registry_conn_id: connection to the registry that records a rejection.
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    :raises InvalidRequestError: when the policy has no meaning, or the document belongs to another release.
    """

    # Airflow's scheduler asks this of a task whose skipped followers were cleared.
    inherits_from_skipmixin = True

    template_fields: Sequence[str] = ("model", "version", "candidate_uri", "policy")
    template_fields_renderers = {"policy": "json"}
    operator_extra_links = (ReportLink(),)
    ui_color = "#f6e8c3"

    def __init__(
        self,
        *,
        model: str,
        version: str,
        candidate_uri: str,
        policy: Mapping[str, Any],
        registry_conn_id: str = "registry_default",
        store_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.candidate_uri = candidate_uri
        self.policy = policy
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id

    def execute(self, context: Context) -> None:
        """Decide, and skip what follows when the word is no."""
        policy = GatePolicy.from_settings(self.policy)
        candidate = read_candidate(
            self.candidate_uri, model=self.model, version=self.version, conn_id=self.store_conn_id
        )
        decision = decide(candidate, policy)
        self.log.info("%s %s %s.", self.model, self.version, decision.line)
        context["ti"].xcom_push(key=DECISION_XCOM_KEY, value=decision.line)
        context["ti"].xcom_push(key=POLICY_XCOM_KEY, value=asdict(policy))
        context["ti"].xcom_push(key=XCOM_REPORT_URL, value=report_page_url(candidate))
        if decision.accepted:
            return
        record = make_record(candidate, state=ReleaseState.REJECTED, reason=decision.line, **run_facts(context))
        get_service(self.registry_conn_id, REGISTRY_HOOKS).register(record, metrics=main_metrics(candidate))
        self.skip(context["ti"], list(self._followers()))

    def _followers(self) -> Iterator[Any]:
        for task in self.get_direct_relatives(upstream=False):
            if not task.is_teardown and task.trigger_rule not in _RUN_ANYWAY:
                yield task
