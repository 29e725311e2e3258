"""Where the native servers run on this machine, as their connection says."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields
from local_services.version_servers.settings import ServersSettings, loopback_host

DEFAULT_PORT = 8088


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeServerSettings(ServersSettings):
    """The connection's fields; ``python`` is of the pipeline half's environment."""

    @classmethod
    def of(cls, connection: Connection) -> NativeServerSettings:
        """Read an Airflow connection.

        :raises InvalidRequestError: naming every field that is missing or wrong.
        """
        fields = ConnectionFields(connection)
        python, state_dir = fields.absolute_path("python"), fields.absolute_path("state_dir")
        host = loopback_host(connection, fields)
        fields.check()
        assert python and state_dir  # or `check` had raised
        return cls(host=host, port=connection.port or DEFAULT_PORT, python=str(python), state_dir=state_dir)
