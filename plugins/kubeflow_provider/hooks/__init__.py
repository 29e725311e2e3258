"""One hook for each service, and the way from a connection to the hook that its type stands for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException

from kubeflow_provider.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from kubeflow_provider.services import PipelineService, ServingService
    from model_releases.registry.service import RegistryService

log = logging.getLogger(__name__)

#: Connection type -> hook class, made with the connection's id and the connection itself: a hook that looked it
#: up on first use would block the triggerer's event loop. Adding a world means adding its hooks here.
PIPELINE_HOOKS = {
    "local_pipelines": "local_services.pipelines.hook.LocalPipelinesHook",
    "kubeflow_pipelines": "kubeflow_provider.hooks.kubeflow_pipelines.KubeflowPipelinesHook",
}
SERVING_HOOKS = {
    "torchserve": "local_services.torchserve.hook.TorchServeHook",
    "kserve": "kubeflow_provider.hooks.kserve.KServeHook",
}


def get_pipeline_service(conn_id: str) -> PipelineService:
    """Return the hook of a connection to what runs pipelines.

    :param conn_id: Airflow connection.
    :raises InvalidRequestError: when the connection is of another kind.
    """
    return _hook(conn_id, BaseHook.get_connection(conn_id), PIPELINE_HOOKS)


async def aget_pipeline_service(conn_id: str) -> PipelineService:
    """Like :func:`get_pipeline_service`, without blocking the event loop, and one hook for all who ask in it."""
    return await _shared_hook(conn_id, PIPELINE_HOOKS)


def get_serving_service(conn_id: str) -> ServingService:
    """Return the hook of a connection to what serves models; see :func:`get_pipeline_service`."""
    return _hook(conn_id, BaseHook.get_connection(conn_id), SERVING_HOOKS)


async def aget_serving_service(conn_id: str) -> ServingService:
    """Like :func:`get_serving_service`, without blocking the event loop, and one hook for all who ask in it."""
    return await _shared_hook(conn_id, SERVING_HOOKS)


async def _shared_hook(conn_id: str, hooks: Mapping[str, str]) -> Any:
    """Return the hook that all who ask in this event loop share.

    A thousand triggers that start at once read their connection once, and through the hook that they share they can
    ask together. It is read anew every few minutes, so that a new password or address reaches those who wait for
    hours; while it cannot be read, the hook stays as it was.
    """
    global _shared
    loop = asyncio.get_running_loop()
    if _shared.loop is not loop:
        _shared = _SharedServices(loop)
    return await _shared.get(conn_id, hooks)


class _SharedServices:
    """The hooks of one event loop; a process has one loop that counts, and of an earlier one nothing is kept.

    :param loop: in which the hooks are used; ``None`` for none yet.
    """

    #: For so long a connection is believed to be as it was.
    fresh_seconds = 300.0

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self._locks: dict[tuple[str, ...], asyncio.Lock] = {}
        self._services: dict[tuple[str, ...], tuple[float, Any]] = {}

    async def get(self, conn_id: str, hooks: Mapping[str, str]) -> Any:
        """Return the connection's hook; who asks while somebody else reads it waits for that."""
        key = (conn_id, *hooks)
        async with self._locks.setdefault(key, asyncio.Lock()):
            read_at, service = self._services.get(key, (0.0, None))
            if service is None or time.monotonic() - read_at >= self.fresh_seconds:
                try:
                    service = _hook(conn_id, await BaseHook.aget_connection(conn_id), hooks)
                except AirflowException as error:
                    if service is None:
                        raise
                    log.warning("Connection %s stays as it was, it cannot be read now: %s", conn_id, error)
                self._services[key] = (time.monotonic(), service)
            return service


_shared = _SharedServices(None)


def _hook(conn_id: str, connection: Connection, hooks: Mapping[str, str]) -> Any:
    path = hooks.get(str(connection.conn_type))
    if path is None:
        raise InvalidRequestError(
            f"Connection {conn_id!r} is of type {connection.conn_type!r}; "
            f"this step needs one of {', '.join(sorted(hooks))}."
        )
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(conn_id, connection=connection)
