"""MLflow's settings for a connection: its client takes them from the environment only."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from include.contracts.rules.addresses import parsed
from kubeflow_provider.connection_fields import ConnectionFields

PASSWORD = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105  the variable's name

#: All threads of a process share its environment.
_LOCK = threading.RLock()


def settings_of(fields: ConnectionFields) -> dict[str, str]:
    """Return variable -> value for a connection."""
    in_uri = parsed(fields.text("tracking_uri"))
    settings = {
        "MLFLOW_TRACKING_USERNAME": fields.login or unquote(in_uri.username or ""),
        PASSWORD: fields.password or unquote(in_uri.password or ""),
        "MLFLOW_TRACKING_TOKEN": fields.text("token"),
        # The task's own retries do the waiting; MLflow's defaults would hold a worker for many minutes.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return {name: value for name, value in settings.items() if value}


@contextlib.contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process for the time of a call, one caller at a time."""
    with _LOCK:
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
