"""Waits for a version to be ready to answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kubeflow_provider.hooks import aget_serving_service
from kubeflow_provider.services import ModelVersion, ServingService
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import PollingTrigger, WaitOutcome
from kubeflow_provider.triggers.blocking_work import BlockingWork


class DeploymentTrigger(PollingTrigger):
    """Asks the serving system until a version is READY or FAILED.

    The event carries ``state``, ``reason`` and ``url`` of the deployment. When a user ends the task for good ("mark
    failed" of the task or its DAG run), the version is taken out of service; after a "clear" the next try needs it.

    Given a candidate it deploys that first: a worker that did would be gone before anybody looks after it.

    :param model: name of the model.
    :param version: the candidate.
    :param conn_id: connection to the serving system.
    :param candidate: fields of the :class:`~kubeflow_provider.services.ModelVersion` to deploy; ``None`` for one that
        is deployed already.
    :param deadline: see :class:`PollingTrigger`, as the rest.
    """

    def __init__(
        self,
        *,
        model: str,
        version: str,
        conn_id: str,
        deadline: datetime,
        candidate: Mapping[str, Any] | None = None,
        poll_interval_seconds: float = 30,
        max_poll_errors: int = 10,
        was_accepted: bool = False,
    ) -> None:
        super().__init__(
            conn_id=conn_id,
            deadline=deadline,
            poll_interval_seconds=poll_interval_seconds,
            max_poll_errors=max_poll_errors,
            was_accepted=was_accepted,
        )
        self.model = model
        self.version = version
        self.candidate = candidate
        self._is_deployed = candidate is None
        self._work = BlockingWork()
        self._reason: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return what names the deployment."""
        return {"model": self.model, "version": self.version}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Add what is no fact of the event."""
        path, kwargs = super().serialize()
        return path, kwargs if self.candidate is None else {**kwargs, "candidate": dict(self.candidate)}

    def facts(self) -> dict[str, Any]:
        """Say which deployment an event is about, and what stood in its way when it was last asked for."""
        return {**self.arguments(), "reason": self._reason}

    async def connect(self) -> ServingService:
        """Return what serves the version."""
        return await aget_serving_service(self.conn_id)

    @property
    def acts(self) -> bool:
        """Whether it deploys the candidate first."""
        return not self._is_deployed

    async def poll(self, service: ServingService, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        """Return the deployment's facts once its state is final; deploy it where that is to be done."""
        if not self._is_deployed and self.candidate is not None:
            await self._work.do(service.deploy_candidate, ModelVersion(**self.candidate))
            self._is_deployed = True
            return None
        deployment = await service.aget_deployment(self.model, self.version)
        if deployment is None:
            reason = "it is not deployed any more; somebody removed it, or the server was started again"
            return {"state": DeploymentState.FAILED.value, "reason": reason, "url": None}
        if not deployment.state.is_terminal:
            self._reason = deployment.reason
            self.log.info("%s %s is not ready yet: %s", self.model, self.version, deployment.reason or "starting")
            return None
        return {"state": deployment.state.value, "reason": deployment.reason, "url": deployment.url}

    def is_good_end(self, payload: Mapping[str, Any]) -> bool:
        """Say whether the version is ready."""
        return payload["outcome"] == WaitOutcome.OVER and DeploymentState(payload["state"]) is DeploymentState.READY

    async def on_kill(self) -> None:
        """Take the version out of service if nobody goes on with it."""

        async def remove() -> None:
            await self._work.settle()  # it could be deployed after all
            service = await self.connect()
            await self._work.do(service.remove, self.model, self.version)

        await self.undo_if_given_up(f"Candidate {self.model} {self.version}", remove)
