"""The kinds of objects that the API server knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of objects.

    :param has_status: whether the status is a subresource, which a write to the object itself cannot change.
    :param custom: whether a CustomResourceDefinition made it: no strategic merge patch, few field selectors.
    """

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    custom: bool = False
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The name that error messages use: ``inferenceservices.serving.kserve.io``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def described(self) -> dict[str, Any]:
        """Return the entry of the discovery document."""
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        return {
            "name": self.plural,
            "singularName": self.kind.lower(),
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": verbs,
            "shortNames": list(self.short_names),
        }


NAMESPACES = Resource(plural="namespaces", kind="Namespace", namespaced=False, has_status=True)
PODS = Resource(plural="pods", kind="Pod", has_status=True, short_names=("po",))
EVENTS = Resource(plural="events", kind="Event")
SECRETS = Resource(plural="secrets", kind="Secret")
CONFIG_MAPS = Resource(plural="configmaps", kind="ConfigMap")
SERVICE_ACCOUNTS = Resource(plural="serviceaccounts", kind="ServiceAccount")
SERVICES = Resource(plural="services", kind="Service", has_status=True)
CLAIMS = Resource(plural="persistentvolumeclaims", kind="PersistentVolumeClaim", has_status=True)
QUOTAS = Resource(plural="resourcequotas", kind="ResourceQuota", has_status=True)
DEPLOYMENTS = Resource(group="apps", plural="deployments", kind="Deployment", has_status=True)
REPLICA_SETS = Resource(group="apps", plural="replicasets", kind="ReplicaSet", has_status=True)
CONTROLLER_REVISIONS = Resource(group="apps", plural="controllerrevisions", kind="ControllerRevision")
JOBS = Resource(group="batch", plural="jobs", kind="Job", has_status=True)
NETWORK_POLICIES = Resource(group="networking.k8s.io", plural="networkpolicies", kind="NetworkPolicy")
ROLES = Resource(group="rbac.authorization.k8s.io", plural="roles", kind="Role")
ROLE_BINDINGS = Resource(group="rbac.authorization.k8s.io", plural="rolebindings", kind="RoleBinding")
CLUSTER_ROLES = Resource(group="rbac.authorization.k8s.io", plural="clusterroles", kind="ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(
    group="rbac.authorization.k8s.io", plural="clusterrolebindings", kind="ClusterRoleBinding", namespaced=False
)
DEFINITIONS = Resource(
    group="apiextensions.k8s.io", plural="customresourcedefinitions", kind="CustomResourceDefinition", namespaced=False
)

BUILT_IN = (
    NAMESPACES,
    PODS,
    EVENTS,
    SECRETS,
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    SERVICES,
    CLAIMS,
    QUOTAS,
    DEPLOYMENTS,
    REPLICA_SETS,
    CONTROLLER_REVISIONS,
    JOBS,
    NETWORK_POLICIES,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    DEFINITIONS,
)
