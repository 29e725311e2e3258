"""Waits for a version to be ready to answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async

from kubeflow_provider.hooks import aget_serving_service
from kubeflow_provider.services import ServingService
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import PollingTrigger, WaitOutcome


class DeploymentTrigger(PollingTrigger):
    """Asks the serving system until a version is READY or FAILED.

    The event carries ``state``, ``reason`` and ``url`` of the deployment. When a user ends the task for good ("mark
    failed" of the task or its DAG run), the version is taken out of service; after a "clear" the next try needs it.

    :param model: name of the model.
    :param version: the candidate.
    :param conn_id: connection to the serving system.
    :param deadline: see :class:`PollingTrigger`, as the rest.
    """

    def __init__(
        self,
        *,
        model: str,
        version: str,
        conn_id: str,
        deadline: datetime,
        poll_interval_seconds: float = 30,
        max_poll_errors: int = 10,
    ) -> None:
        super().__init__(
            conn_id=conn_id,
            deadline=deadline,
            poll_interval_seconds=poll_interval_seconds,
            max_poll_errors=max_poll_errors,
        )
        self.model = model
        self.version = version
        self._reason: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return what names the deployment."""
        return {"model": self.model, "version": self.version}

    def facts(self) -> dict[str, Any]:
        """Say which deployment an event is about, and what stood in its way when it was last asked for."""
        return {**self.arguments(), "reason": self._reason}

    async def connect(self) -> ServingService:
        """Return what serves the version."""
        return await aget_serving_service(self.conn_id)

    async def poll(self, service: ServingService, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        """Return the deployment's facts once its state is final."""
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
            service = await self.connect()
            await sync_to_async(service.remove, thread_sensitive=False)(self.model, self.version)

        await self.undo_if_given_up(f"Candidate {self.model} {self.version}", remove)
