"""Gives a version the traffic: all at once, or in steps that are watched."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from include.contracts.rollout import RolloutConfig
from kubeflow_provider.access import was_accepted
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import raise_for_error
from model_releases.config import read_section
from model_releases.exceptions import CheckFailedError
from model_releases.links import EndpointLink
from model_releases.memory import xcoms
from model_releases.operators.base import ReleaseStep, ReversibleStep
from model_releases.rules.beside_live import LONGEST_SECONDS
from model_releases.rules.replaceable import refuse_outdated, refuse_pinned
from model_releases.rules.rollout import longest_watch_seconds
from model_releases.triggers.promotion import MOST_WATCHES, PromotionTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import ServingService

#: The trigger ends by itself at the deadline; the scheduler's own limit is only the net below it.
_DEFER_BUFFER = timedelta(minutes=5)


class PromoteOperator(ReversibleStep):
    """Give a version the traffic and wait until users reach it. Returns the address that they call.

    Where the serving system can split traffic, the version gets it in steps. Each is watched with the held-out rows
    of the release: errors, latency, agreement with the live version. A step that is not convincing fails the task,
    and the roll back takes the traffic away again; a task that a user ends for good does so itself. A task that runs
    again begins with the first step.

    :param rollout: ``rollout`` section of the model's YAML, as a mapping or as JSON; empty: all at once (templated).
    :param beside_live: what the version must show beside the live one on the same requests before it gets any traffic,
        see :class:`~include.contracts.monitoring.shadow_settings.BesideLive`; empty: nothing.
    :param timeout: how long the serving system may take for a change of traffic.
    :param compared_with: version that was live when the release began, empty when none was: the version is refused
        when another one is live by now, and when a person has taken it back once; ``None``: it is not asked, as in a
        roll back (templated).
    :param taken_over: the version was judged in another installation: what it was compared with there does not matter.
    :param deferrable: watch in the triggerer, without a worker slot.
    :raises CheckFailedError: naming the step and what was not good enough.
    :raises DeploymentFailedError: when the version fails while it gets the traffic, or is not ready in time.
    :raises ReleaseRefusedError: before anything is changed, see ``compared_with``.
    """

    template_fields = (*ReleaseStep.template_fields, "rollout", "compared_with")
    operator_extra_links = (EndpointLink(),)

    def __init__(
        self,
        *,
        rollout: Mapping[str, Any] | str | None = None,
        beside_live: Mapping[str, Any] | None = None,
        timeout: timedelta = timedelta(minutes=15),
        compared_with: str | None = None,
        taken_over: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rollout = rollout or {}
        self.beside_live = beside_live or {}
        self.timeout = timeout
        self.compared_with = compared_with
        self.taken_over = taken_over
        self.deferrable = deferrable

    def execute(self, context: Context) -> str:
        """Promote, and wait here or in the triggerer where there is something to wait for."""
        self.begin(context)
        settings = json.loads(self.rollout) if isinstance(self.rollout, str) else self.rollout
        policy = read_section(RolloutConfig, settings, name="rollout") if settings else None
        service = self.serving_service()
        self._refuse_comeback(service)
        trigger = self._trigger(policy, was_accepted=was_accepted(service))
        is_for_trigger = self.deferrable and service.works_in_background
        promotion = trigger.promotion(service)
        if not is_for_trigger and not promotion.has_steps():
            for pause in promotion.compare():
                time.sleep(pause)
            promoted = service.promote(self.model, self.version)
            self.after_change()
            if promoted is not None and promoted.state is DeploymentState.READY:
                return self._is_live(context)
        if self.deferrable:
            self.defer(
                trigger=trigger,
                method_name="execute_complete",
                timeout=trigger.deadline - datetime.now(tz=UTC) + _DEFER_BUFFER,
            )
        return self.execute_complete(context, asyncio.run(trigger.wait()))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Go on with what became of it."""
        raise_for_error(event)
        if failed := event.get("failed_check"):
            raise CheckFailedError(failed["check"], expected=failed["expected"], got=failed["got"])
        return self._is_live(context)

    def take_back(self, service: ServingService) -> None:
        """Send users back to what was live before, and take the version away."""
        service.roll_back(self.model, candidate=self.version, previous=None)

    def _is_live(self, context: Context) -> str:
        endpoint = self.serving_service().endpoint_url(self.model)
        context["ti"].xcom_push(key=xcoms.ENDPOINT, value=endpoint)
        self.log.info("%s %s is live at %s.", self.model, self.version, endpoint)
        return endpoint

    def _trigger(self, policy: RolloutConfig | None, **options: Any) -> PromotionTrigger:
        # One for the comparison of answers, one for all of the traffic; as often as a step may be watched.
        changes = 2 + MOST_WATCHES * len(policy.steps if policy else ())
        watching = timedelta(seconds=MOST_WATCHES * longest_watch_seconds(policy) if policy else 0)
        comparing = timedelta(seconds=2 * LONGEST_SECONDS if self.beside_live else 0)
        return PromotionTrigger(
            model=self.model,
            version=self.version,
            conn_id=self.serving_conn_id,
            deadline=datetime.now(tz=UTC) + changes * self.timeout + watching + comparing,
            rollout=policy.model_dump() if policy else {},
            timeout_seconds=self.timeout.total_seconds(),
            candidate_uri=self.candidate_uri,
            candidate_sha256=None if self.candidate_sha256 is None else str(self.candidate_sha256),
            store_conn_id=self.store_conn_id,
            beside_live=self.beside_live,
            **options,
        )

    def _refuse_comeback(self, service: ServingService) -> None:
        if self.compared_with is None:
            return
        if self.registry_conn_id:
            refuse_pinned(self.model, self.version, self.registry_service())
        candidate = self.read_candidate()
        refuse_outdated(candidate, service, compared_with=str(self.compared_with), taken_over=self.taken_over)
