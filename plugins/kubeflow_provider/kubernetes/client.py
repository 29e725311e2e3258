"""The official Kubernetes client, made by Airflow's Kubernetes provider from a connection that is already at hand."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.sdk import Connection


class ConnectedKubernetesHook(KubernetesHook):
    """A :class:`KubernetesHook` that looks nothing up: in the triggerer that would stop the event loop.

    :param connection: of type ``kubernetes``; ``None``: the pod's own service account, else the default kubeconfig.
    """

    def __init__(self, connection: Connection | None) -> None:
        from kubernetes.client import Configuration

        super().__init__(kubernetes_conn_id=None)
        self._extra: dict[str, Any] = json.loads((connection.extra if connection else None) or "{}")
        # Otherwise the client's settings are one global object, and two clusters in one process would share it. The
        # provider reads the pod's service account into that object only.
        self.client_configuration = None if self._get_field("in_cluster") else Configuration()

    @cached_property
    def conn_extras(self) -> dict[str, Any]:
        """Return the connection's extra fields."""
        return self._extra
