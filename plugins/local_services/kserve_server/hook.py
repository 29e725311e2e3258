"""Serves models of several formats on this machine: each version with a server of KServe's own, in its own process."""

from __future__ import annotations

from airflow.sdk import Connection

from kubeflow_provider.services import ModelVersion
from local_services.kserve_server.processes import KServeProcesses
from local_services.kserve_server.settings import KServeServerSettings, Predictor
from local_services.kserve_server.versions import VersionStore
from local_services.version_servers.hook import VersionServersHook
from local_services.version_servers.loaded_versions import Store


class LocalKServeHook(VersionServersHook):
    """Serves versions of models of several formats; a :class:`~kubeflow_provider.services.ServingService`.

    :param local_kserve_conn_id: connection of type ``local_kserve``.
    :param connection: the connection itself, where it has been looked up already.
    """

    conn_name_attr = "local_kserve_conn_id"
    default_conn_name = "local_kserve_default"
    conn_type = "local_kserve"
    hook_name = "Local KServe"

    def __init__(self, local_kserve_conn_id: str = default_conn_name, *, connection: Connection | None = None) -> None:
        super().__init__(local_kserve_conn_id, connection=connection)
        self.local_kserve_conn_id = local_kserve_conn_id

    def check_candidate(self, candidate: ModelVersion) -> None:
        """Find out whether a version's names, format and protocol can be served.

        :raises InvalidRequestError: when one of them cannot.
        """
        super().check_candidate(candidate)
        Predictor.of(candidate.settings, version=f"{candidate.model} {candidate.version}")

    def _read_settings(self, connection: Connection) -> KServeServerSettings:
        return KServeServerSettings.of(connection)

    def _make_processes(self) -> KServeProcesses:
        return KServeProcesses(self._settings)

    def _make_store(self) -> Store:
        settings = self._settings
        assert isinstance(settings, KServeServerSettings)
        return VersionStore(settings.model_store, allow_pickle=settings.allow_pickle)
