"""Where releases are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeflow_provider.hooks import get_hook

if TYPE_CHECKING:
    from model_releases.registry.service import RegistryService

#: Entry-point group in which a connection type names the hook class of a registry.
REGISTRY_SERVICES = "model_releases.registry_services"


def get_registry_service(conn_id: str) -> RegistryService:
    """Return the hook of a connection to a model registry.

    :param conn_id: Airflow connection.
    :raises InvalidRequestError: when the connection is of another kind.
    """
    hook: RegistryService = get_hook(conn_id, REGISTRY_SERVICES)
    return hook
