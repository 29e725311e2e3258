"""Where the servers of one machine run, whatever they are."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersSettings:
    """A connection's fields.

    :param host: loopback address of the router.
    :param port: port of the router.
    :param python: interpreter of the servers.
    :param state_dir: keeps the models, the logs and the record of what is live.
    """

    host: str
    port: int
    python: str
    state_dir: Path

    @property
    def address(self) -> str:
        """URL of the router, without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def model_store(self) -> Path:
        """Folder with the versions that are, or were lately, served."""
        return self.state_dir / "models"


def loopback_host(connection: Connection, fields: ConnectionFields) -> str:
    """Return the address to listen on; one that is not of this machine alone becomes a problem of the fields."""
    host = "127.0.0.1" if connection.host in (None, "", "localhost") else connection.host
    if not _is_loopback(host):
        fields.problems.append(
            "host: an IPv4 loopback address is needed. Predictions need no token, so this server is for one "
            "machine only; put a proxy that knows its users in front of it"
        )
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
