"""The last task of a release: says how it ended, and gives the DAG run its state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import TriggerRule

from include.contracts.candidate import Candidate
from include.contracts.registry_tags import ReleaseState
from include.contracts.uris import to_open
from kubeflow_provider.exceptions import KubeflowProviderError
from kubeflow_provider.links import XCOM_RUN_URL
from model_releases import ids
from model_releases.cards.release_card import render_card
from model_releases.exceptions import ReleaseFailedError
from model_releases.kinds import kind_of
from model_releases.links import ReportLink, report_page_url
from model_releases.memory import xcoms
from model_releases.memory.failures import Failure, first_failure, task_states
from model_releases.memory.outcome import Outcome, OutcomeKind, dag_run_url, first_xcom, roll_back_result
from model_releases.metrics import Metric, tell
from model_releases.operators.base import ReleaseStep

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import Deployment, ServingService
    from model_releases.registry.service import RegistryService, Release

T = TypeVar("T")


class ReportOperator(ReleaseStep):
    """Write the release card, and fail when a step of the release did.

    Runs whatever became of the tasks before it (trigger rule ``all_done``). A rejected candidate is a success. XCom:
    ``card``, the card as text, and ``outcome``, the same for programs; both are there when the release failed, too.

    :param action: what the DAG does, as the card and the alert call it.
    :param step_task_ids: the tasks to report, in their order; default: all that stand before this one.
    :param roll_back_task_id: the task that rolls back.
    :raises ReleaseFailedError: naming the failed task, what is serving now and what became of the roll back.
    """

    operator_extra_links = (ReportLink(),)
    ui_color = "#cfe2f3"

    def __init__(
        self,
        *,
        action: str = "Release of",
        step_task_ids: Sequence[str] | None = None,
        roll_back_task_id: str = ids.ROLL_BACK,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"trigger_rule": TriggerRule.ALL_DONE, **kwargs})
        self.action = action
        self.step_task_ids = step_task_ids
        self.roll_back_task_id = roll_back_task_id

    def execute(self, context: Context) -> None:
        """Report."""
        steps = self._steps(context)
        candidate = self._try("candidate.json", self.read_candidate)
        outcome = self._outcome(context, steps, candidate)
        kind, policy = kind_of(candidate) if candidate else None, first_xcom(context, steps, xcoms.POLICY)
        card = render_card(
            outcome,
            figures=kind.figures(kind.policy(policy) if policy else None) if kind else (),
            example=kind.example() if kind else b"",
            seconds=self._seconds(context, steps),
        )
        ti = context["ti"]
        ti.xcom_push(key=xcoms.OUTCOME, value=outcome.to_json())
        ti.xcom_push(key=xcoms.CARD, value=card)
        ti.xcom_push(key=xcoms.REPORT_URL, value=report_page_url(candidate) if candidate else None)
        self.log.info("\n%s", card)
        self._tell(context, outcome)
        if outcome.kind is OutcomeKind.FAILED:
            raise ReleaseFailedError(
                f"{outcome.line.rstrip('.')}. Serving now: {outcome.serving_now}. Roll back {outcome.roll_back.value}."
            )

    def _tell(self, context: Context, outcome: Outcome) -> None:
        """Tell the metrics system of it; a run that was not due is none."""
        if outcome.kind is OutcomeKind.NOT_DUE:
            return
        now, of = datetime.now(UTC), {"model": self.model, "dag_id": context["dag"].dag_id}
        tell(Metric.ENDED, now.timestamp(), **of, outcome=outcome.label)
        if (begun := getattr(context.get("dag_run"), "start_date", None)) is not None:
            tell(Metric.DURATION, (now - begun).total_seconds(), **of)

    def _outcome(self, context: Context, steps: Sequence[str], candidate: Candidate | None) -> Outcome:
        serving: ServingService | None = self._try("the serving system", self.serving_service)
        registry: RegistryService | None = self._try("the registry", self.registry_service)
        live, serving_now = self._live(serving)
        release: Release | None = None
        if registry is not None:
            release = self._try("the registry", lambda: registry.get_release(self.model, self.version))
        failure = first_failure(context, [step for step in steps if step != self.roll_back_task_id])
        roll_back_failure = first_failure(context, [self.roll_back_task_id])
        kind, line = _judge(
            failure or roll_back_failure,
            release,
            is_live=live is not None and live.version == self.version,
            decision=first_xcom(context, steps, xcoms.DECISION),
            not_due=first_xcom(context, steps, xcoms.NOT_DUE),
        )
        return Outcome(
            model=self.model,
            version=self.version,
            action=self.action,
            kind=kind,
            line=line,
            failure=failure or roll_back_failure,
            roll_back=roll_back_result(task_states(context).get(self.roll_back_task_id)),
            roll_back_failure=roll_back_failure,
            serving_now=serving_now,
            endpoint=(serving and self._try("the endpoint", lambda: serving.endpoint_url(self.model))) or "",
            links=self._links(context, steps, registry, candidate),
        )

    def _links(
        self, context: Context, steps: Sequence[str], registry: RegistryService | None, candidate: Candidate | None
    ) -> dict[str, str]:
        page = registry and self._try("the registry", lambda: registry.release_url(self.model, self.version))
        links = {
            "DAG run": dag_run_url(context),
            "pipeline run": first_xcom(context, steps, XCOM_RUN_URL),
            "registry": page,
            "report": candidate and report_page_url(candidate),
            "report file": candidate and candidate.report_uri and to_open(candidate.report_uri),
        }
        return {name: url for name, url in links.items() if url}

    def _live(self, serving: ServingService | None) -> tuple[Deployment | None, str]:
        unknown = "not known: the serving system could not be asked"
        if serving is None:
            return None, unknown
        live: list[Deployment | None] | None = self._try("the serving system", lambda: [serving.get_live(self.model)])
        if live is None:
            return None, unknown
        return live[0], live[0].version if live[0] else "nothing"

    def _steps(self, context: Context) -> list[str]:
        if self.step_task_ids is not None:
            return list(self.step_task_ids)
        upstream = self.get_flat_relative_ids(upstream=True)
        return [task.task_id for task in context["dag"].topological_sort() if task.task_id in upstream]

    def _seconds(self, context: Context, steps: Sequence[str]) -> dict[str, float]:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        crumbs = RuntimeTaskInstance.get_task_breadcrumbs(context["dag"].dag_id, context["run_id"])
        ran = {crumb["task_id"]: crumb for crumb in crumbs if crumb["state"] in ("success", "failed")}
        return {step: ran[step]["duration"] or 0.0 for step in steps if step in ran}

    def _try(self, what: str, ask: Callable[[], T]) -> T | None:
        """Ask, and carry on without an answer: a report that fails for want of one fact tells nothing at all."""
        try:
            return ask()
        except KubeflowProviderError as error:
            self.log.info("The report goes without %s: %s", what, error)
        except Exception:
            self.log.warning("The report goes without %s.", what, exc_info=True)
        return None


def _judge(
    failure: Failure | None,
    release: Release | None,
    *,
    is_live: bool,
    decision: str | None,
    not_due: str | None,
) -> tuple[OutcomeKind, str]:
    if failure is not None:
        return OutcomeKind.FAILED, str(failure)
    if not_due is not None:
        return OutcomeKind.NOT_DUE, not_due
    if is_live or (release is not None and release.state is ReleaseState.LIVE):
        return OutcomeKind.RELEASED, decision or "passed every test"
    if release is not None and release.state is ReleaseState.REJECTED:
        return OutcomeKind.REJECTED, release.reason
    return OutcomeKind.STOPPED, "some of its steps were skipped or left out; what was live before is live"
