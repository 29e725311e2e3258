"""Where KServe's server runs on this machine, as its connection says, and what a version's settings ask of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import InvalidRequestError
from local_services.kserve_server.runtime.layout import PROTOCOLS, SAFE_FILES

DEFAULT_PORT = 8087


@dataclass(frozen=True, slots=True, kw_only=True)
class KServeServerSettings:
    """The connection's fields.

    :param host: loopback address of the router.
    :param port: port of the router.
    :param python: interpreter of an environment with ``kserve_server/requirements.txt``.
    :param state_dir: keeps the models, the logs and the record of what is live.
    :param allow_pickle: whether models may be loaded that run code of their file.
    """

    host: str
    port: int
    python: str
    state_dir: Path
    allow_pickle: bool = False

    @property
    def address(self) -> str:
        """URL of the router, without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def model_store(self) -> Path:
        """Folder with the versions that are, or were lately, served."""
        return self.state_dir / "models"

    @classmethod
    def of(cls, connection: Connection) -> KServeServerSettings:
        """Read an Airflow connection.

        :raises InvalidRequestError: naming every field that is missing or wrong.
        """
        fields = ConnectionFields(connection)
        python, state_dir = fields.absolute_path("python"), fields.absolute_path("state_dir")
        allow_pickle = fields.flag("allow_pickle", False)
        host = "127.0.0.1" if connection.host in (None, "", "localhost") else connection.host
        if not _is_loopback(host):
            fields.problems.append(
                "host: an IPv4 loopback address is needed. Predictions need no token, so this server is for one "
                "machine only; put a proxy that knows its users in front of it"
            )
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
