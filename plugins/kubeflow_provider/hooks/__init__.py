"""One hook for each service, and the way from a connection to the hook that its type stands for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from airflow.sdk import BaseHook, Connection

from kubeflow_provider.exceptions import InvalidRequestError

#: Connection type -> hook class, made with the connection's id and the connection itself: a hook that looked it
#: up on first use would block the triggerer's event loop. Adding a world means adding its hooks here.
PIPELINE_HOOKS = {
    "local_pipelines": "kubeflow_provider.hooks.local_pipelines.LocalPipelinesHook",
    "kubeflow_pipelines": "kubeflow_provider.hooks.kubeflow_pipelines.KubeflowPipelinesHook",
}
SERVING_HOOKS = {
    "torchserve": "kubeflow_provider.hooks.torchserve.TorchServeHook",
    "kserve": "kubeflow_provider.hooks.kserve.KServeHook",
}
REGISTRY_HOOKS = {"mlflow": "kubeflow_provider.hooks.mlflow.MlflowHook"}


def get_service(conn_id: str, hooks: dict[str, str]) -> Any:
    """Return the hook that the connection's type stands for.

    :param conn_id: Airflow connection.
    :param hooks: one of the tables above.
    :raises InvalidRequestError: when the type is not in the table.
    """
    return _load(conn_id, BaseHook.get_connection(conn_id), hooks)


async def aget_service(conn_id: str, hooks: dict[str, str]) -> Any:
    """Like :func:`get_service`, without blocking the event loop."""
    return _load(conn_id, await BaseHook.aget_connection(conn_id), hooks)


def _load(conn_id: str, connection: Connection, hooks: dict[str, str]) -> Any:
    if connection.conn_type not in hooks:
        raise InvalidRequestError(
            f"Connection {conn_id!r} is of type {connection.conn_type!r}; "
            f"this step needs one of {', '.join(sorted(hooks))}."
        )
    module, _, name = hooks[connection.conn_type].rpartition(".")
    return getattr(import_module(module), name)(conn_id, connection=connection)
