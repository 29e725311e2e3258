"""Waits for an InferenceService to be ready, or to be gone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.hooks import aget_serving_service
from kubeflow_provider.hooks.kserve import KServeHook
from kubeflow_provider.states import DeploymentState
from kubeflow_provider.triggers.base import PollingTrigger, WaitOutcome


class Until(StrEnum):
    """What is waited for; stands in the arguments of triggers that are stored: never rename."""

    READY = "ready"
    GONE = "gone"


class InferenceServiceTrigger(PollingTrigger):
    """Asks for an InferenceService until it is READY or FAILED, or until there is none.

    The event carries ``state``, ``reason``, ``url`` and ``generation``; ``state`` is ``None`` for one that is gone.
    Whatever becomes of the task, the InferenceService stays as it is.

    :param name: of the InferenceService.
    :param until: what is waited for, see :class:`Until`.
    :param must_exist: whether one that is not there is a bad end; otherwise it is waited for.
    :param conn_id: Airflow connection of type ``kserve``.
    :param deadline: see :class:`PollingTrigger`, as the rest.
    """

    def __init__(
        self,
        *,
        name: str,
        conn_id: str,
        deadline: datetime,
        until: str = Until.READY,
        must_exist: bool = True,
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
        self.name = name
        self.until = Until(until)
        self.must_exist = must_exist
        self._reason: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return what is waited for."""
        return {"name": self.name, "until": self.until.value, "must_exist": self.must_exist}

    def facts(self) -> dict[str, Any]:
        """Say what an event is about, and what stood in its way when it was last asked for."""
        return {**self.arguments(), "reason": self._reason}

    async def connect(self) -> KServeHook:
        """Return the hook of the connection."""
        return as_kserve(await aget_serving_service(self.conn_id), self.conn_id)

    async def poll(self, service: KServeHook, *, slack_seconds: float = 0.0) -> dict[str, Any] | None:
        """Return the facts once there is nothing more to wait for."""
        services = service.inference_services
        if self.until is Until.GONE:
            return None if await services.aexists(self.name) else {"state": None, "url": None, "generation": None}
        found = await services.aget(self.name)
        if found is None:
            self._reason = reason = f"there is none in namespace {services.namespace}"
            if not self.must_exist:
                return None
            return {"state": DeploymentState.FAILED.value, "reason": reason, "url": None, "generation": None}
        if not found.state.is_terminal:
            if found.reason != self._reason:
                self.log.info("InferenceService %s is not ready yet: %s", self.name, found.reason or "starting")
            self._reason = found.reason
            return None
        facts = {"reason": found.reason, "url": found.url, "generation": found.generation}
        return {"state": found.state.value, **facts}

    def is_good_end(self, payload: Mapping[str, Any]) -> bool:
        """Say whether it is ready, or gone."""
        wanted = None if self.until is Until.GONE else DeploymentState.READY.value
        return payload["outcome"] == WaitOutcome.OVER and payload["state"] == wanted


def as_kserve(service: Any, conn_id: str) -> KServeHook:
    """Return the hook of a connection of type ``kserve``.

    :raises InvalidRequestError: for another one: only KServe has InferenceServices.
    """
    if not isinstance(service, KServeHook):
        raise InvalidRequestError(
            f"Connection {conn_id!r} is of no type `kserve`, so there are no InferenceServices behind it. Name another "
            "one in `kserve_conn_id`."
        )
    return service
