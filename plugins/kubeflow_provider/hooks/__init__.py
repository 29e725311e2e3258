"""One hook for each service, and the way from a connection to the hook that its type stands for."""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException

from kubeflow_provider.compat import aget_connection
from kubeflow_provider.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from kubeflow_provider.services import PipelineService, ServingService

log = logging.getLogger(__name__)

#: Entry-point groups in which a connection type names its hook class, which is made with the connection's id and the
#: connection itself: a hook that looked it up on first use would block the triggerer's event loop. A world of its own
#: comes with a package that has such entry points; nothing changes here.
PIPELINE_SERVICES = "kubeflow_provider.pipeline_services"
SERVING_SERVICES = "kubeflow_provider.serving_services"

#: The default ids, and what they were in version 0.1.0: to go with the version after next.
_FORMER_DEFAULTS = {"kubeflow_pipelines_default": "pipelines_default", "kserve_default": "serving_default"}


def get_pipeline_service(conn_id: str) -> PipelineService:
    """Return the hook of a connection to what runs pipelines.

    :param conn_id: Airflow connection.
    :raises InvalidRequestError: when the connection is of another kind.
    """
    return get_hook(conn_id, PIPELINE_SERVICES)


async def aget_pipeline_service(conn_id: str) -> PipelineService:
    """Like :func:`get_pipeline_service`, without blocking the event loop, and one hook for all who ask in it."""
    return await _shared_hook(conn_id, PIPELINE_SERVICES)


def get_serving_service(conn_id: str) -> ServingService:
    """Return the hook of a connection to what serves models; see :func:`get_pipeline_service`."""
    return get_hook(conn_id, SERVING_SERVICES)


async def aget_serving_service(conn_id: str) -> ServingService:
    """Like :func:`get_serving_service`, without blocking the event loop, and one hook for all who ask in it."""
    return await _shared_hook(conn_id, SERVING_SERVICES)


def get_hook(conn_id: str, group: str) -> Any:
    """Return the hook of a connection; for packages that know services of another kind.

    :param conn_id: Airflow connection.
    :param group: entry-point group that says which connection types there are.
    :raises InvalidRequestError: when the connection is of another kind.
    """
    return _hook(conn_id, _connection(conn_id), group)


def _connection(conn_id: str) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowException:
        if (former := _FORMER_DEFAULTS.get(conn_id)) is None:
            raise
        with suppress(AirflowException):
            return _former(conn_id, BaseHook.get_connection(former))
        raise


async def _aconnection(conn_id: str) -> Connection:
    try:
        return await aget_connection(conn_id)
    except AirflowException:
        if (former := _FORMER_DEFAULTS.get(conn_id)) is None:
            raise
        with suppress(AirflowException):
            return _former(conn_id, await aget_connection(former))
        raise


def _former(conn_id: str, connection: Connection) -> Connection:
    """Return a connection that is found by its former default id, and say that this will end."""
    message = f"There is no connection {conn_id!r}; {connection.conn_id!r} is taken, which is deprecated: rename it."
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    log.warning("%s", message)
    return connection


async def _shared_hook(conn_id: str, group: str) -> Any:
    """Return the hook that all who ask in this event loop share.

    A thousand triggers that start at once read their connection once, and through the hook that they share they can
    ask together. It is read anew every few minutes, so that a new password or address reaches those who wait for
    hours; while it cannot be read, the hook stays as it was.
    """
    global _shared
    loop = asyncio.get_running_loop()
    if _shared.loop is not loop:
        _shared = _SharedServices(loop)
    return await _shared.get(conn_id, group)


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

    async def get(self, conn_id: str, group: str) -> Any:
        """Return the connection's hook; who asks while somebody else reads it waits for that."""
        key = (conn_id, group)
        async with self._locks.setdefault(key, asyncio.Lock()):
            read_at, service = self._services.get(key, (0.0, None))
            if service is None or time.monotonic() - read_at >= self.fresh_seconds:
                try:
                    service = _hook(conn_id, await _aconnection(conn_id), group)
                except AirflowException as error:
                    if service is None:
                        raise
                    log.warning("Connection %s stays as it was, it cannot be read now: %s", conn_id, error)
                self._services[key] = (time.monotonic(), service)
            return service


_shared = _SharedServices(None)


def _hook(conn_id: str, connection: Connection, group: str) -> Any:
    hooks = _hooks(group)
    entry_point = hooks.get(str(connection.conn_type))
    if entry_point is None:
        raise InvalidRequestError(
            f"Connection {conn_id!r} is of type {connection.conn_type!r}; "
            f"this step needs one of {', '.join(sorted(hooks)) or 'none that is installed'}."
        )
    return entry_point.load()(conn_id, connection=connection)


@cache
def _hooks(group: str) -> Mapping[str, EntryPoint]:
    """Return connection type -> hook class."""
    return {entry_point.name: entry_point for entry_point in entry_points(group=group)}
