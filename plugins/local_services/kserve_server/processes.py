"""The process of a version: KServe's own server, in the environment that has it."""

from __future__ import annotations

from pathlib import Path

from local_services.record import StoredVersion
from local_services.version_servers.processes import Processes


class KServeProcesses(Processes):
    """Processes whose servers are KServe's own."""

    router_captures = True

    def start_server(self, model: str, version: str, stored: StoredVersion, path: Path, folder: Path) -> None:
        """Start the server of a version.

        :param path: of the file that it loads.
        """
        document = {
            "model": model,
            "version": version,
            "format": stored.settings["predictor"]["format"],
            "path": str(path),
        }
        self._start_runtime("server", folder, document, f"{model}-{version}", python=self._settings.python)
