"""Gives a version the traffic: all at once, or in steps that are watched."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from include.contracts.settings import RolloutConfig
from kubeflow_provider.exceptions import DeploymentFailedError
from kubeflow_provider.states import DeploymentState
from model_releases.config import read_section
from model_releases.links import EndpointLink
from model_releases.memory import xcoms
from model_releases.operators.base import ReleaseStep
from model_releases.rules.replaceable import refuse_outdated, refuse_pinned
from model_releases.rules.rollout import Watch

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import Answer, Deployment, ServingService

_POLL_SECONDS = 2.0


class PromoteOperator(ReleaseStep):
    """Give a version the traffic and wait until users reach it. Returns the address that they call.

    Where the serving system can split traffic, the version gets it in steps. Each is watched with the held-out rows
    of the release: errors, latency, agreement with the live version. A step that is not convincing fails the task,
    and the roll back takes the traffic away again. A task that runs again begins with the first step.

    :param rollout: ``rollout`` section of the model's YAML, as a mapping or as JSON; empty: all at once (templated).
    :param timeout: how long the serving system may take for a change of traffic.
    :param compared_with: version that was live when the release began, empty when none was: the version is refused
        when another one is live by now, and when a person has taken it back once; ``None``: it is not asked, as in a
        roll back (templated).
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
        timeout: timedelta = timedelta(minutes=15),
        compared_with: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rollout = rollout or {}
        self.timeout = timeout
        self.compared_with = compared_with

    def execute(self, context: Context) -> str:
        """Promote."""
        settings = json.loads(self.rollout) if isinstance(self.rollout, str) else self.rollout
        policy = read_section(RolloutConfig, settings, name="rollout") if settings else None
        service = self.serving_service()
        self._refuse_comeback(service)
        live = service.get_live(self.model)
        if policy and policy.steps and live and live.version != self.version and service.can_split_traffic(self.model):
            self._in_steps(service, policy, live.version)
        self._wait(service, service.promote(self.model, self.version))
        endpoint = service.endpoint_url(self.model)
        context["ti"].xcom_push(key=xcoms.ENDPOINT, value=endpoint)
        self.log.info("%s %s is live at %s.", self.model, self.version, endpoint)
        return endpoint

    def _refuse_comeback(self, service: ServingService) -> None:
        if self.compared_with is None:
            return
        if self.registry_conn_id:
            refuse_pinned(self.model, self.version, self.registry_service())
        candidate = self.read_candidate()
        refuse_outdated(candidate, service, compared_with=str(self.compared_with))

    def _in_steps(self, service: ServingService, policy: RolloutConfig, live: str) -> None:
        def ask(body: bytes, version: str | None) -> Answer:
            return service.predict(self.model, body, version=version)

        candidate = self.read_candidate()
        texts = candidate.held_out_texts or [example.text for example in candidate.golden_examples]
        watch = Watch(policy=policy, version=self.version, live=live, texts=texts, ask=ask)
        for line in watch.compare_answers():
            self.log.info("Passed %s.", line)
        for percent in policy.steps:
            self._wait(service, service.shift_traffic(self.model, self.version, percent))
            self.log.info(
                "%s %s has %d %% of the traffic; watching it for %.0f s.",
                self.model,
                self.version,
                percent,
                policy.watch_seconds,
            )
            for line in watch.watch_users(percent):
                self.log.info("Passed %s.", line)

    def _wait(self, service: ServingService, deployment: Deployment | None) -> None:
        """Wait until what was asked for has arrived."""
        deadline = time.monotonic() + self.timeout.total_seconds()
        while deployment is None or deployment.state is not DeploymentState.READY:
            reason = (deployment and deployment.reason) or "no reason given"
            if deployment and deployment.state is DeploymentState.FAILED:
                raise DeploymentFailedError(f"{self.model} {self.version} failed on its way to the traffic: {reason}")
            if time.monotonic() > deadline:
                raise DeploymentFailedError(
                    f"{self.model} {self.version} did not get the traffic within {self.timeout}: {reason}"
                )
            time.sleep(_POLL_SECONDS)
            deployment = service.get_deployment(self.model, self.version)
