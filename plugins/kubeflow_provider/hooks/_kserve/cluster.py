"""The cluster that a connection of type ``kserve`` leads to."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.sdk import BaseHook, Connection

from kubeflow_provider.compat import aget_connection
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.hooks._kserve.access_check import check_access
from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.capabilities import Capabilities, read_capabilities
from kubeflow_provider.hooks._kserve.doors import Doors
from kubeflow_provider.hooks._kserve.settings import KServeSettings

Object = dict[str, Any]


class KServeCluster:
    """Kubernetes with KServe, and the door that predictions take. Nothing is looked up before it is needed.

    :param conn_id: connection of type ``kserve``.
    :param connection: the connection itself, where it has been looked up already.
    """

    def __init__(self, conn_id: str, connection: Connection | None) -> None:
        self._conn_id = conn_id
        self._connection = connection
        self._kubernetes: Connection | None = None

    async def look_up(self) -> None:
        """Look up what a thread of the triggerer cannot: the connection to Kubernetes."""
        conn_id = self.settings.kubernetes_conn_id
        if conn_id and self._kubernetes is None:
            self._kubernetes = await aget_connection(conn_id)

    @cached_property
    def settings(self) -> KServeSettings:
        return KServeSettings.of(self._connection or BaseHook.get_connection(self._conn_id))

    @cached_property
    def api(self) -> ClusterApi:
        from kubeflow_provider.kubernetes.client import ConnectedKubernetesHook

        settings, conn_id = self.settings, self.settings.kubernetes_conn_id
        if conn_id and self._kubernetes is None:
            self._kubernetes = BaseHook.get_connection(conn_id)
        if self._kubernetes is not None:
            settings.kubernetes_access.use(ConnectionFields(self._kubernetes).digest())
        return ClusterApi(ConnectedKubernetesHook(self._kubernetes), settings.namespace, settings.kubernetes_access)

    @cached_property
    def doors(self) -> Doors:
        return Doors(self.settings, self.api)

    @cached_property
    def capabilities(self) -> Capabilities:
        configs = (self.api.config(namespace) for namespace in self.settings.system_namespaces)
        return read_capabilities(self.api.definition(), next(filter(None, configs), None))

    def service(self, name: str) -> Object | None:
        """Return an InferenceService that is not going away."""
        service = self.api.get_service(name)
        return None if service is None or service["metadata"].get("deletionTimestamp") else service

    def describe(self) -> str:
        """Say what can be reached, what KServe it is, and what of our work it lets us do. Nothing is made.

        :raises KubeflowProviderError: for the first thing that cannot be asked, or naming every right that is missing.
        """
        rest = check_access(self.api, door=self.settings.door)
        return f"{self.capabilities}; namespace {self.settings.namespace}: {rest}."
