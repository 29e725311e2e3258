"""Where KServe's server runs on this machine, as its connection says, and what a version's settings ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import InvalidRequestError
from local_services.kserve_server.runtime.layout import PROTOCOLS, SAFE_FILES
from local_services.roles import host_of
from local_services.version_servers.settings import ServersSettings

DEFAULT_PORT = 8087


@dataclass(frozen=True, slots=True, kw_only=True)
class KServeServerSettings(ServersSettings):
    """The connection's fields; ``python`` is of an environment with ``kserve_server/requirements.txt``.

    :param allow_pickle: whether models may be loaded that run code of their file.
    """

    allow_pickle: bool = False

    @classmethod
    def of(cls, connection: Connection) -> KServeServerSettings:
        """Read an Airflow connection.

        :raises InvalidRequestError: naming every field that is missing or wrong.
        """
        fields = ConnectionFields(connection)
        python, state_dir = fields.absolute_path("python"), fields.absolute_path("state_dir")
        allow_pickle, host = fields.flag("allow_pickle", False), host_of(connection, fields, None)
        fields.check()
        assert python and state_dir  # or `check` had raised
        return cls(
            host=host,
            port=connection.port or DEFAULT_PORT,
            python=str(python),
            state_dir=state_dir,
            allow_pickle=allow_pickle,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """The section ``predictor`` of a version's settings; what stands there besides is for a cluster.

    :param format: KServe's ``modelFormat``.
    :param protocol: in which the model is asked, ``v1`` or ``v2``.
    """

    format: str
    protocol: str = "v1"

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, version: str) -> Predictor:
        """Read a version's settings.

        :param version: the version, for the message.
        :raises InvalidRequestError: when the format or the protocol is none that is served here.
        """
        section = settings.get("predictor")
        section = section if isinstance(section, Mapping) else {}
        found, protocol = section.get("format"), section.get("protocol", "v1")
        if found not in SAFE_FILES:
            raise InvalidRequestError(
                f"{version}: `predictor.format` must be one of {', '.join(SAFE_FILES)}, which this machine's server "
                "reads. Models of other formats and containers of your own need a cluster."
            )
        if protocol not in PROTOCOLS:
            raise InvalidRequestError(f"{version}: `predictor.protocol` must be one of {', '.join(PROTOCOLS)}.")
        return cls(format=str(found), protocol=str(protocol))
