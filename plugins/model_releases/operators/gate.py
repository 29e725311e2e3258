"""Lets good candidates through and records why the others were not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.utils.skipmixin import SkipMixin
from airflow.sdk import TriggerRule

from include.contracts.registry_tags import GATE_SETTINGS_FACT, ReleaseState
from model_releases.kinds import kind_of
from model_releases.links import ReportLink, report_page_url
from model_releases.memory import xcoms
from model_releases.memory.evidence import gather
from model_releases.memory.release_record import gate_settings, make_record, run_facts
from model_releases.operators.base import ReleaseStep

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.contracts.candidate import Candidate
    from include.contracts.rules.gate import Decision

#: Tasks with these rules want to run whatever became of the tasks before them: a report, a clean-up.
_RUN_ANYWAY = frozenset({TriggerRule.ALL_DONE, TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, TriggerRule.ALWAYS})


class GateOperator(ReleaseStep, SkipMixin):
    """Stop a candidate that is not good enough, or that was compared with another version than the live one.

    That is an outcome and not an error: what follows is skipped. XCom: ``judged``, the digests of what it has judged;
    from then on nobody writes to the version any more.

    The tasks right behind the gate are skipped and Airflow carries that on to theirs; tasks whose trigger rule is
    ``all_done`` run all the same.

    :param policy: settings of :class:`~include.contracts.settings.GateConfig` (templated; text is cast).
    :param live_at_start: version that was live when the release began, empty for none (templated): a candidate that
        could not be compared with it may go on while it still is.
    :raises InvalidRequestError: when the policy has no meaning, or the document belongs to another release.
    :raises ReleaseRefusedError: when the archive is not the one that was evaluated.
    """

    # Airflow's scheduler asks this of a task whose skipped followers were cleared.
    inherits_from_skipmixin = True

    template_fields = (*ReleaseStep.template_fields, "policy", "live_at_start")
    template_fields_renderers = {"policy": "json"}
    operator_extra_links = (ReportLink(),)
    ui_color = "#f6e8c3"

    def __init__(
        self,
        *,
        policy: Mapping[str, Any],
        live_at_start: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.policy = policy
        self.live_at_start = live_at_start

    def execute(self, context: Context) -> None:
        """Decide, and skip what follows when the word is no."""
        evidence = gather(self.read_candidate(), str(self.candidate_uri), conn_id=self.store_conn_id)
        self.candidate_sha256 = evidence.candidate_sha256
        candidate = self.read_candidate()  # what the digest is of, whatever was written since
        kind = kind_of(candidate)
        policy = kind.policy(self.policy)
        live = self.serving_service().get_live(self.model)
        decision = kind.decide(
            policy,
            live_version=live.version if live else None,
            live_at_start=self.live_at_start or None,
        )
        self.log.info("%s %s %s.", self.model, self.version, decision.text)
        for note in decision.notes:
            self.log.warning("%s %s: %s.", self.model, self.version, note)
        context["ti"].xcom_push(key=xcoms.JUDGED, value=evidence.to_json())
        context["ti"].xcom_push(key=xcoms.DECISION, value=decision.line)
        context["ti"].xcom_push(key=xcoms.GATE, value=decision.text)
        context["ti"].xcom_push(key=xcoms.POLICY, value=policy.model_dump())
        context["ti"].xcom_push(key=xcoms.REPORT_URL, value=report_page_url(candidate))
        if not decision.accepted:
            settings = {GATE_SETTINGS_FACT: gate_settings(policy.model_dump())}
            self._record_rejection(context, candidate, decision, evidence.facts() | settings)
            self.skip(context["ti"], list(self._followers()))

    def _record_rejection(
        self, context: Context, candidate: Candidate, decision: Decision, found: dict[str, str]
    ) -> None:
        registry = self.registry_service()
        known = registry.get_release(self.model, self.version)
        if known is not None and known.state.has_been_live:
            # Somebody has cleared the gate of an old release. What that became is no longer the gate's to say.
            registry.add_facts(self.model, self.version, {"gate": decision.text})
            return
        facts = run_facts(context) | found | {"gate": decision.text}
        record = make_record(candidate, state=ReleaseState.REJECTED, reason=decision.line, **facts)
        registry.register(record, metrics=candidate.figures())

    def _followers(self) -> Iterator[Any]:
        for task in self.get_direct_relatives(upstream=False):
            if not task.is_teardown and task.trigger_rule not in _RUN_ANYWAY:
                yield task
