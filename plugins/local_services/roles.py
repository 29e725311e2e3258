"""Who starts a server of models: whoever needs it, or a container that is there for nothing else."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from enum import StrEnum
from threading import Event

from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import KubeflowProviderError

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_LOOPBACK_NEEDED = (
    "host: an IPv4 loopback address is needed. Predictions need no token, so this server is for one machine only; put "
    "a proxy that knows its users in front of it"
)


class Role(StrEnum):
    """Who starts the server."""

    #: Whoever needs it first; for one machine, on loopback.
    ON_DEMAND = "on_demand"
    #: This process, which is there for nothing else (the modules ``server``); on any address.
    SERVER = "server"
    #: Another process with the role of the server, that shares the state folder and the management socket.
    CLIENT = "client"


def role_of(fields: ConnectionFields) -> Role:
    """Return a connection's role; a word that is none becomes a problem of the fields."""
    return Role(fields.choice("role", tuple(Role), Role.ON_DEMAND))


def host_of(connection: Connection, fields: ConnectionFields, role: Role | None) -> str:
    """Return the address of the predictions.

    One that is not of this machine alone becomes a problem of the fields where everybody starts the server.

    :param role: ``None`` for servers that cannot be a container of their own.
    """
    host = connection.host or "127.0.0.1"
    if role in (Role.SERVER, Role.CLIENT):
        return host
    host = "127.0.0.1" if host == "localhost" else host
    if not _is_loopback(host):
        hint = "" if role is None else ". For a server that runs in a container of its own, set `role`"
        fields.problems.append(_LOOPBACK_NEEDED + hint)
    return host


def keep_started(start: Callable[[], None], stop: Event) -> None:
    """Start a server whenever it is not running, until told to stop.

    :param start: starts it with everything that was live, unless it runs.
    :param stop: when set, this returns.
    """
    while not stop.is_set():
        try:
            start()
        except KubeflowProviderError as error:
            # What keeps it from starting may be mended while this waits: a full disk, a damaged record.
            log.error("%s", error)
        stop.wait(_LOOK_SECONDS)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
