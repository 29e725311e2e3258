"""The official Kubernetes client, made by Airflow's Kubernetes provider from a connection that is already at hand.

Import it only where a cluster is to be asked: the provider is an extra of this package.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from airflow.sdk import Connection

from kubeflow_provider.access import Access, access_for
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.kubernetes.errors import AWAY
from kubeflow_provider.kubernetes.extra import need_kubernetes

need_kubernetes("To ask a Kubernetes cluster")

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook  # noqa: E402


def kubernetes_access(connection: Connection | None) -> Access:
    """Return what this process knows of the credentials of a connection, or of the pod's own for ``None``."""
    fields = ConnectionFields(connection or Connection(conn_id="", conn_type="kubernetes"))
    return access_for(fields, purpose="kubernetes", away=AWAY)


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

    def renew(self) -> None:
        """Read kubeconfig and token anew for the next request."""
        for made in ("api_client", "core_v1_client", "apps_v1_client", "custom_object_client"):
            self.__dict__.pop(made, None)

    @cached_property
    def conn_extras(self) -> dict[str, Any]:
        """Return the connection's extra fields."""
        return self._extra
