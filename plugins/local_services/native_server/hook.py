"""Serves packages on this machine without TorchServe: each version with the native server, in its own process."""

from __future__ import annotations

from airflow.sdk import Connection

from kubeflow_provider.services import ModelVersion
from local_services.native_server.packages import PackageStore
from local_services.native_server.processes import NativeProcesses
from local_services.native_server.settings import NativeServerSettings
from local_services.record import Record, check_runtime
from local_services.roles import Role
from local_services.version_servers.hook import VersionServersHook
from local_services.version_servers.loaded_versions import VersionProcesses
from local_services.version_servers.remote_processes import RemoteProcesses
from local_services.version_servers.settings import ServersSettings


class LocalNativeHook(VersionServersHook):
    """Serves versions with ``serving.runtime: native``; a :class:`~kubeflow_provider.services.ServingService`.

    Where the servers are in a container of their own, the connection's ``role`` says so: what is done here is the same,
    and only that container starts and stops processes, when it is asked to.

    :param local_native_conn_id: connection of type ``local_native``.
    :param connection: the connection itself, where it has been looked up already.
    """

    conn_name_attr = "local_native_conn_id"
    default_conn_name = "local_native_default"
    conn_type = "local_native"
    hook_name = "Local native server"

    def __init__(self, local_native_conn_id: str = default_conn_name, *, connection: Connection | None = None) -> None:
        super().__init__(local_native_conn_id, connection=connection)
        self.local_native_conn_id = local_native_conn_id

    def check_candidate(self, candidate: ModelVersion) -> None:
        """Find out whether a version's names and runtime can be served.

        :raises InvalidRequestError: when one of them cannot.
        """
        super().check_candidate(candidate)
        check_runtime(candidate, "native", remedy="torchserve")

    @property
    def settings(self) -> ServersSettings:
        """The connection's fields."""
        return self._settings

    def own_parts(self) -> tuple[NativeProcesses, PackageStore, Record]:
        """Return what the container of the role ``server`` runs, for whoever runs it."""
        return NativeProcesses(self._settings), self._make_store(), self._record

    def _read_settings(self, connection: Connection) -> NativeServerSettings:
        return NativeServerSettings.of(connection)

    def _make_processes(self) -> VersionProcesses:
        if self._settings.role is Role.CLIENT:
            return RemoteProcesses(self._settings, kind=NativeProcesses.kind, service="native")
        return NativeProcesses(self._settings)

    def _make_store(self) -> PackageStore:
        return PackageStore(self._settings.model_store)
