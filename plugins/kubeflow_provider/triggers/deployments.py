"""Waits for a version to be ready to answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kubeflow_provider.hooks import aget_serving_service
from kubeflow_provider.services import ServingService
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import PollingTrigger


class DeploymentTrigger(PollingTrigger):
    """Asks the serving system until a version is READY or FAILED.

    The event carries ``state``, ``reason`` and ``url`` of the deployment.

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

    def arguments(self) -> dict[str, Any]:
        """Return what names the deployment."""
        return {"model": self.model, "version": self.version}

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
            self.log.info("%s %s is not ready yet: %s", self.model, self.version, deployment.reason or "starting")
            return None
        return {"state": deployment.state.value, "reason": deployment.reason, "url": deployment.url}
