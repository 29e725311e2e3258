"""Brings a candidate up beside what is live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import conf

from include.contracts.candidate import Candidate
from include.contracts.registry_tags import ReleaseState
from kubeflow_provider.access import was_accepted
from kubeflow_provider.exceptions import DeploymentFailedError
from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import WaitOutcome, raise_for_error
from kubeflow_provider.triggers.deployments import DeploymentTrigger
from model_releases import ids
from model_releases.exceptions import ReleaseRefusedError
from model_releases.links import EndpointLink
from model_releases.memory import xcoms
from model_releases.memory.active_runs import deployment_under_way, roll_back_under_way
from model_releases.operators.base import ReleaseStep, ReversibleStep
from model_releases.registry.service_labels import service_labels
from model_releases.rules.replaceable import refuse_outdated, refuse_pinned

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kubeflow_provider.services import Deployment, ServingService
    from model_releases.registry.service import RegistryService

#: The trigger ends by itself at the deadline; the scheduler's own limit is only the net below it.
_DEFER_BUFFER = timedelta(minutes=5)


class DeployCandidateOperator(ReversibleStep):
    """Bring a version up beside the live one, without traffic, and wait until it is ready.

    Pushes ``previous_version`` (live before, empty when none was) and ``endpoint`` as XComs before it changes
    anything, so that :class:`~model_releases.operators.undo.RollBackOperator` knows the way back from here on.
    Returns the candidate's own address. A task that a user ends for good takes the candidate away; where the serving
    system works in the background, a deferrable task leaves the deployment itself to its trigger, so that there is
    never a candidate that nobody looks after.

    :param settings: ``serving`` section of the model's YAML, as a mapping or as JSON (templated).
    :param compared_with: version that was live when the release began, empty when none was: the candidate is refused
        when another one is live by now, when a person has taken it back once, and while a person rolls the model back;
        ``None``: it is not asked, as in a roll back (templated).
    :param taken_over: the version was judged in another installation: what it was compared with there does not matter.
    :param timeout: longest wait for the version to be ready.
    :param poll_interval_seconds: longest pause between two questions.
    :param deferrable: wait in the triggerer.
    :raises DeploymentFailedError: with the serving system's diagnosis.
    :raises ReleaseRefusedError: before anything is changed, see ``compared_with``.
    """

    template_fields = (*ReleaseStep.template_fields, "settings", "compared_with")
    operator_extra_links = (EndpointLink(),)

    def __init__(
        self,
        *,
        settings: Mapping[str, Any] | str | None = None,
        compared_with: str | None = None,
        taken_over: bool = False,
        timeout: timedelta = timedelta(minutes=30),
        poll_interval_seconds: float = 10,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = settings or {}
        self.compared_with = compared_with
        self.taken_over = taken_over
        self.timeout = timeout
        self.poll_interval_seconds = poll_interval_seconds
        self.deferrable = deferrable

    def execute(self, context: Context) -> str | None:
        """Deploy, and wait here or in the triggerer."""
        self.begin(context)
        candidate = self.read_candidate()
        service = self.serving_service()
        registry = self.registry_service() if self.registry_conn_id else None
        self._refuse_comeback(context, candidate, service, registry)
        ti = context["ti"]
        live = service.get_live(self.model)
        ti.xcom_push(key=xcoms.PREVIOUS_VERSION, value=self._version_before(service, live))
        ti.xcom_push(key=xcoms.ENDPOINT, value=service.endpoint_url(self.model))
        settings = json.loads(self.settings) if isinstance(self.settings, str) else self.settings
        labels: dict[str, str] = {}
        origin = {"dag-id": self.dag_id, "dag-run-id": context.get("run_id") or ""}
        if registry is not None:
            known = registry.get_release(self.model, self.version)
            if known is None or known.state is not ReleaseState.LIVE:
                registry.set_state(self.model, self.version, ReleaseState.CANDIDATE)
            origin["registry-url"] = registry.release_url(self.model, self.version) or ""
            labels = service_labels(settings, self.model, serving=service, registry=registry, is_live=live is not None)
        version = ModelVersion(
            model=self.model,
            version=self.version,
            archive_uri=candidate.archive.uri,
            archive_sha256=candidate.archive.sha256,
            settings=candidate.served_with(settings),
            origin=origin,
            service_labels=labels,
        )
        if self.deferrable and service.works_in_background:
            self._defer(service, candidate=asdict(version))
        deployment = service.deploy_candidate(version)
        self.after_change()
        if deployment.state.is_terminal:
            return self._result(deployment.state, deployment.reason, deployment.url)
        if self.deferrable:
            self._defer(service)
        return self.execute_complete(context, asyncio.run(self._trigger(service).wait()))

    def _defer(self, service: ServingService, **deploying: Any) -> NoReturn:
        self.defer(
            trigger=self._trigger(service, **deploying),
            method_name="execute_complete",
            timeout=self.timeout + _DEFER_BUFFER,
        )
        raise AssertionError("deferring ends the task's process")

    def _trigger(self, service: ServingService, **deploying: Any) -> DeploymentTrigger:
        return DeploymentTrigger(
            model=self.model,
            version=self.version,
            conn_id=self.serving_conn_id,
            deadline=datetime.now(tz=UTC) + self.timeout,
            poll_interval_seconds=self.poll_interval_seconds,
            was_accepted=was_accepted(service),
            **deploying,
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str | None:
        """Go on with what the trigger saw."""
        raise_for_error(event)
        if event["outcome"] == WaitOutcome.TIMEOUT:
            raise DeploymentFailedError(
                f"{self.model} {self.version} was not ready within {self.timeout}: "
                f"{event.get('reason') or 'the serving system does not say why'}. Look at the serving system, or give "
                "the task a longer `timeout`."
            )
        return self._result(DeploymentState(event["state"]), event["reason"], event["url"])

    def take_back(self, service: ServingService) -> None:
        """Take the candidate away."""
        service.remove(self.model, self.version)

    def _refuse_comeback(
        self, context: Context, candidate: Candidate, service: ServingService, registry: RegistryService | None
    ) -> None:
        if self.compared_with is None:
            return
        if registry is not None:
            refuse_pinned(self.model, self.version, registry)
        if run := roll_back_under_way(context, self.model):
            raise ReleaseRefusedError(
                f"{self.model} is being rolled back by hand ({run}), so {self.version} is not deployed. Start a new "
                "release when that is over: it is compared with what is live then."
            )
        others = {ids.release_dag(self.model), ids.take_over_dag(self.model)} - {self.dag_id}
        if run_id := deployment_under_way(context, *sorted(others)):
            raise ReleaseRefusedError(
                f"Another version of {self.model} is being deployed right now ({run_id}), so {self.version} is not. "
                "Trigger the DAG again when that is over."
            )
        refuse_outdated(candidate, service, compared_with=str(self.compared_with), taken_over=self.taken_over)

    def _result(self, state: DeploymentState, reason: str | None, url: str | None) -> str | None:
        if state is not DeploymentState.READY:
            raise DeploymentFailedError(f"{self.model} {self.version} could not be deployed: {reason}")
        self.log.info("%s %s is ready, without traffic, at %s.", self.model, self.version, url)
        return url

    def _version_before(self, service: ServingService, live: Deployment | None) -> str:
        """Return the version that a roll back of this release has to put back, empty when there is none."""
        if live is not None and live.version != self.version:
            return live.version
        # The release was promoted before and runs again, or there is nothing yet.
        return (service.get_previous(self.model) if live is not None else None) or ""
