"""Where the native servers run, as their connection says, and who starts them."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields
from local_services.roles import Role, host_of, role_of
from local_services.version_servers.settings import ServersSettings

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
        role = role_of(fields)
        python = fields.absolute_path("python", required=role is not Role.CLIENT)
        state_dir, socket_dir = fields.absolute_path("state_dir"), fields.absolute_path("socket_dir", required=False)
        host = host_of(connection, fields, role)
        fields.check()
        assert state_dir  # or `check` had raised
        return cls(
            host=host,
            port=connection.port or DEFAULT_PORT,
            python=str(python or ""),
            state_dir=state_dir,
            role=role,
            socket_dir=socket_dir,
            public_url=fields.text("public_url"),
        )
