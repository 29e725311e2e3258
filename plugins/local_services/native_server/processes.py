"""The process of a version: the native server, in the pipeline half's environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import include
from include.contracts.monitoring.capture import CAPTURE
from include.contracts.monitoring.capture_environment import SETTINGS_VARIABLE
from local_services.kserve_server.runtime.layout import failure_of, socket_of
from local_services.record import StoredVersion
from local_services.version_servers.processes import Processes

#: So long a server goes on after it was told to end: the router has given its traffic to another one before.
_DRAIN_SECONDS = "1"


class NativeProcesses(Processes):
    """Processes whose servers are ``include.classifier.native``."""

    kind = "native-server"
    needed = "the pipeline half's environment (include/requirements.txt)"

    @property
    def router_python(self) -> str:
        """This interpreter: the Airflow half has what the router needs, the pipeline half has not."""
        return sys.executable

    def start_server(self, model: str, version: str, stored: StoredVersion, path: Path, folder: Path) -> None:
        """Start the server of a version.

        :param path: folder of its package.
        """
        command = [self._settings.python, "-m", "include.classifier.native", str(path)]
        command += ["--folder", str(folder / "model"), "--unix-socket", str(socket_of(folder))]
        command += ["--reason-file", str(failure_of(folder)), "--drain-seconds", _DRAIN_SECONDS]
        environment = {
            "PYTHONPATH": str(Path(include.__path__[0]).parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ARCHIVE_SHA256": stored.sha256,
            "HF_HUB_OFFLINE": "1",
        }
        if capture := stored.settings.get(CAPTURE):
            environment[SETTINGS_VARIABLE] = json.dumps(capture)
        self._start(command, folder, f"{model}-{version}", environment=environment)
