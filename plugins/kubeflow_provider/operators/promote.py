"""Gives a version the traffic: all at once, or in steps that are watched."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kubeflow_provider import xcoms
from kubeflow_provider.candidate import Candidate
from kubeflow_provider.exceptions import DeploymentFailedError
from kubeflow_provider.hooks import get_registry_service, get_serving_service
from kubeflow_provider.links import EndpointLink
from kubeflow_provider.pins import refuse_outdated, refuse_pinned
from kubeflow_provider.rollout import RolloutPolicy, Watch
from kubeflow_provider.states import DeploymentState

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import Answer, Deployment, ServingService

_POLL_SECONDS = 2.0


class PromoteOperator(BaseOperator):
    """Give a version the traffic and wait until users reach it. Returns the address that they call.

    Where the serving system can split traffic, the version gets it in steps. Each is watched with the held-out rows
    of the release: errors, latency, agreement with the live version. A step that is not convincing fails the task,
    and the roll back takes the traffic away again. A task that runs again begins with the first step.

    :param model: name of the model (templated).
    :param version: version to promote (templated).
    :param candidate_uri: URI of its ``candidate.json``, which has the held-out rows (templated).
    :param rollout: ``rollout`` section of the model's YAML, as a mapping or as JSON; empty: all at once (templated).
    :param timeout: how long the serving system may take for a change of traffic.
    :param compared_with: version that was live when the release began, empty when none was: the version is refused
        when another one is live by now, and when a person has taken it back once; ``None``: it is not asked, as in a
        roll back (templated).
    :param serving_conn_id: connection to the serving system (templated).
    :param registry_conn_id: connection to the registry that knows who took what back; only with ``compared_with``.
    :param store_conn_id: Airflow connection for the model store, where it needs one.
    :raises CheckFailedError: naming the step and what was not good enough.
    :raises DeploymentFailedError: when the version fails while it gets the traffic, or is not ready in time.
    :raises ReleaseRefusedError: before anything is changed, see ``compared_with``.
    """

    template_fields: Sequence[str] = (
        "model",
        "version",
        "candidate_uri",
        "rollout",
        "compared_with",
        "serving_conn_id",
    )
    operator_extra_links = (EndpointLink(),)

    def __init__(
        self,
        *,
        model: str,
        version: str,
        candidate_uri: str = "",
        rollout: Mapping[str, Any] | str | None = None,
        timeout: timedelta = timedelta(minutes=15),
        compared_with: str | None = None,
        serving_conn_id: str = "serving_default",
        registry_conn_id: str | None = None,
        store_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.candidate_uri = candidate_uri
        self.rollout = rollout or {}
        self.timeout = timeout
        self.compared_with = compared_with
        self.serving_conn_id = serving_conn_id
        self.registry_conn_id = registry_conn_id
        self.store_conn_id = store_conn_id

    def execute(self, context: Context) -> str:
        """Promote."""
        self.version = str(self.version)  # a DAG that renders native objects makes a number of it
        settings = json.loads(self.rollout) if isinstance(self.rollout, str) else self.rollout
        policy = RolloutPolicy.from_settings(settings) if settings else None
        service = get_serving_service(self.serving_conn_id)
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
            refuse_pinned(self.model, self.version, get_registry_service(self.registry_conn_id))
        candidate = Candidate.read(self.candidate_uri, conn_id=self.store_conn_id)
        refuse_outdated(candidate, service, compared_with=str(self.compared_with))

    def _in_steps(self, service: ServingService, policy: RolloutPolicy, live: str) -> None:
        def ask(body: bytes, version: str | None) -> Answer:
            return service.predict(self.model, body, version=version)

        candidate = Candidate.read(self.candidate_uri, conn_id=self.store_conn_id)
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
