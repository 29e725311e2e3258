"""How clients get to a cluster, be it the double or a real one."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any


class ClusterAccess(ABC):
    """What tests may use of any cluster.

    :ivar namespace: the one that tests work in.
    :ivar is_double: whether tests can inject troubles, and look behind the API.
    """

    namespace: str
    is_double: bool

    @abstractmethod
    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig to a file and return the path."""

    @property
    @abstractmethod
    def gateway_url(self) -> str:
        """Return where requests to InferenceServices go, with the ``Host`` of their ``status.url``."""

    @abstractmethod
    def api_client(self) -> Any:
        """Return a client of the official library."""

    def connection_extra(self, kubeconfig: Path) -> dict[str, Any]:
        """Return the ``extra`` of an Airflow connection of the type ``kubernetes``; writes the kubeconfig."""
        return {"kube_config_path": str(self.kubeconfig(kubeconfig)), "namespace": self.namespace, "in_cluster": False}

    def connection(self, kubeconfig: Path, conn_id: str = "kubernetes_test") -> Any:
        """Return an Airflow connection of the type ``kubernetes``; writes the kubeconfig."""
        from airflow.sdk import Connection

        extra = json.dumps(self.connection_extra(kubeconfig))
        return Connection(conn_id=conn_id, conn_type="kubernetes", extra=extra)

    def connection_variable(self, kubeconfig: Path) -> str:
        """Return the connection as the value of an ``AIRFLOW_CONN_...`` variable; writes the kubeconfig."""
        return json.dumps({"conn_type": "kubernetes", "extra": self.connection_extra(kubeconfig)})
