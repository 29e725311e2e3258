"""Which cluster, which namespace, and by which door predictions are asked for: an Airflow connection's fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import httpx
from airflow.sdk import Connection

from kubeflow_provider.access import Access, access_for
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.http.authentication import authentication_for
from kubeflow_provider.http.settings import HttpSettings
from kubeflow_provider.kubernetes.errors import AWAY

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
#: Of KServe's own manifests, and of a Kubeflow platform's.
_SYSTEM_NAMESPACES = ("kserve", "kubeflow")
DEFAULT_PATH_TEMPLATE = "/serving/{namespace}/{name}"


class DoorKind(StrEnum):
    """By which way a prediction reaches a service. The values stand in connections: never rename them."""

    CLUSTER_LOCAL = "cluster_local"
    GATEWAY = "gateway"
    PATH = "path"
    SERVICE_PROXY = "service_proxy"

    @property
    def needs_host(self) -> bool:
        """Whether the connection must name a gateway."""
        return self in (DoorKind.GATEWAY, DoorKind.PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class KServeSettings:
    """The fields of a connection of type ``kserve``.

    :param namespace: of the InferenceServices.
    :param kubernetes_conn_id: Airflow connection of the cluster; ``None``: the pod's own service account, else the
        default kubeconfig.
    :param door: see :class:`DoorKind`.
    :param path_template: KServe's ``pathTemplate``, with ``{namespace}`` and ``{name}``.
    :param system_namespaces: where KServe itself may be installed.
    :param unschedulable_seconds: how long a pod may wait for a node, which an autoscaler may have to start.
    :param http: address of the gateway, TLS, proxy.
    :param auth: what the gateway asks for.
    :param access: what this process knows of the credentials for the gateway.
    :param kubernetes_access: and of those for Kubernetes.
    """

    namespace: str
    kubernetes_conn_id: str | None
    door: DoorKind
    path_template: str
    system_namespaces: tuple[str, ...]
    unschedulable_seconds: float
    http: HttpSettings
    auth: httpx.Auth | None
    access: Access
    kubernetes_access: Access

    @classmethod
    def of(cls, connection: Connection) -> KServeSettings:
        """Read a connection.

        :raises InvalidRequestError: naming every field that is missing or wrong.
        """
        fields = ConnectionFields(connection)
        namespace = fields.required("namespace", "the namespace of the InferenceServices")
        if namespace and not _NAMESPACE.fullmatch(namespace):
            fields.problems.append("namespace: must be the name of a Kubernetes namespace")
        door = DoorKind(fields.choice("door", tuple(DoorKind), DoorKind.CLUSTER_LOCAL))
        template = fields.text("path_template", DEFAULT_PATH_TEMPLATE)
        if "{name}" not in template or not template.startswith("/"):
            fields.problems.append(
                "path_template: must start with a slash and hold {name}, for example /serving/{name}"
            )
        unschedulable_seconds = fields.seconds("unschedulable_seconds", 600)
        http = HttpSettings(base_url="")
        if connection.host or door.needs_host:
            http = HttpSettings.read(fields)
        access = access_for(fields)
        kubernetes_access = access_for(fields, purpose="kubernetes", away=AWAY)
        auth = authentication_for(fields, http)
        fields.check()
        return cls(
            namespace=namespace,
            kubernetes_conn_id=fields.text("kubernetes_conn_id") or None,
            door=door,
            path_template=template,
            system_namespaces=(named,) if (named := fields.text("system_namespace")) else _SYSTEM_NAMESPACES,
            unschedulable_seconds=unschedulable_seconds,
            http=http,
            auth=auth,
            access=access,
            kubernetes_access=kubernetes_access,
        )
