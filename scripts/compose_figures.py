"""Measures what docs/compose.md says of image sizes and start times, with nothing but Python's own library.

``python3 scripts/compose_figures.py [ENV_FILE]`` stops the installation and starts it again; its data stay. Root
empties the machine's file cache in between, so that the start is as cold as after a reboot.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE_CACHE = Path("/proc/sys/vm/drop_caches")


def run(*command: str) -> str:
    """Run a command in the project's folder; return what it printed."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


class Installation:
    """What ``make up ENV_FILE=...`` has started.

    :param env_file: its settings.
    """

    def __init__(self, env_file: str) -> None:
        self._compose = ("docker", "compose", "--env-file", env_file)
        self._config = json.loads(self.compose("config", "--format", "json"))
        self.services: list[str] = [name for name in self._config["services"] if name != "init"]

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose`` on it."""
        return run(*self._compose, *arguments)

    def image_sizes(self) -> dict[str, float]:
        """Return each image's size in GB, uncompressed, with what it shares with others."""
        images = sorted({service["image"] for service in self._config["services"].values()})
        return {image: int(run("docker", "image", "inspect", "--format", "{{.Size}}", image)) / 1e9 for image in images}

    def start_seconds(self, *start: str) -> dict[str, float]:
        """Run a command of compose; return how long each container took from its start to healthy, in seconds.

        Health checks come every ten seconds, so a figure may be that much too large.
        """
        wanted = ("event=start", "event=health_status", f"label=com.docker.compose.project={self._config['name']}")
        filters = (part for condition in wanted for part in ("--filter", condition))
        # Listened to, not asked for afterwards: Docker remembers few events, and every health check is some.
        command = ("docker", "events", *filters, "--format", "{{json .}}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            try:
                time.sleep(1)
                self.compose(*start)
                self.compose("up", "--detach", "--no-build", "--wait")
                time.sleep(1)
            finally:
                listener.terminate()
            return between(map(json.loads, listener.communicate()[0].splitlines()))


def between(events: Any) -> dict[str, float]:
    """Return the seconds from each service's start to its first good health check.

    :param events: as ``docker events`` tells them, the oldest first.
    """
    started: dict[str, float] = {}
    took: dict[str, float] = {}
    for event in events:
        service, seconds = event["Actor"]["Attributes"].get("com.docker.compose.service"), event["timeNano"] / 1e9
        if event["Action"] == "start":
            started[service] = seconds
        elif event["Action"] == "health_status: healthy" and service in started:
            took.setdefault(service, seconds - started[service])
    return took


def main(env_file: str = ".env") -> None:
    """Print both tables."""
    installation = Installation(env_file)
    print("| image | size |\n|---|---|")
    for image, gigabytes in installation.image_sizes().items():
        print(f"| `{image}` | {gigabytes:.2f} GB |")

    installation.compose("stop")
    if os.access(FILE_CACHE, os.W_OK):
        os.sync()
        FILE_CACHE.write_text("3")
    else:
        print("\nNot root: the file cache stays, and the first column is warm.")
    begin = time.monotonic()
    together = installation.start_seconds("up", "--detach", "--no-build", "--wait")
    all_of_them = time.monotonic() - begin
    print("\n| service | all together, cold | alone, warm |\n|---|---|---|")
    for service in installation.services:
        alone = installation.start_seconds("restart", service)
        print(f"| `{service}` | {together[service]:.0f} s | {alone[service]:.0f} s |")
    print(f"| the whole stack | {all_of_them:.0f} s | |")


if __name__ == "__main__":
    main(*sys.argv[1:])
