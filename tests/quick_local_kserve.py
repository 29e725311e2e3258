"""The hook of KServe's own servers on processes that are a table: its own code, record and store, and no process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState
from local_services.kserve_server.hook import LocalKServeHook
from local_services.kserve_server.runtime.layout import UNKNOWN
from local_services.record import StoredVersion
from local_services.version_servers.processes import Processes
from tests.local_kserve_support import NO_MODEL, connection, published


class Table(Processes):
    """What the processes would be: the state of each version, known by what its process would be known by."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str, str], tuple[DeploymentState, str | None]] = {}
        self.is_up = False

    def is_router_up(self) -> bool:
        return self.is_up

    def start_router(self) -> None:
        self.is_up = True

    def stop(self) -> bool:
        was_up, self.is_up = self.is_up, False
        self.states.clear()
        return was_up

    def start_version(self, model: str, version: str, stored: StoredVersion, path: Path) -> None:
        state: tuple[DeploymentState, str | None] = (DeploymentState.READY, None)
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        if any(file.read_bytes() == NO_MODEL for file in files):
            state = (DeploymentState.FAILED, "It could not be loaded. BadZipFile: File is not a zip file")
        self.states[model, version, stored.sha256] = state

    def stop_version(self, model: str, version: str, stored: StoredVersion) -> None:
        self.states.pop((model, version, stored.sha256), None)

    def note_failure(self, model: str, version: str, stored: StoredVersion, reason: str) -> None:
        self.states[model, version, stored.sha256] = (DeploymentState.FAILED, reason)

    def state(self, model: str, version: str, stored: StoredVersion) -> tuple[DeploymentState, str | None] | None:
        return self.states.get((model, version, stored.sha256))

    def is_gone(self, model: str, version: str, stored: StoredVersion) -> bool:
        return (model, version, stored.sha256) not in self.states


class QuickHook(LocalKServeHook):
    """A hook whose router and servers are a table."""

    def __init__(self, folder: Path) -> None:
        super().__init__(connection=connection("/no/python", folder / "state", port=8087))
        self.__dict__["_processes"] = Table()

    def _post(self, model: str, version: str | None, body: bytes, timeout_seconds: float) -> httpx.Response | None:
        served = self._record.model(model)
        asked = version or served.live or ""
        stored = served.versions.get(asked)
        state = stored and self._processes.state(model, asked, stored)
        answer = httpx.Response(404, headers={"X-Model-Router": UNKNOWN})
        if state and state[0] is DeploymentState.READY:
            answer = httpx.Response(200, json={"predictions": [asked]}, headers={"X-Model-Version": asked})
            try:
                json.loads(body)
            except ValueError:
                answer = httpx.Response(400)
        answer.extensions["latency_ms"] = 1.0
        return answer


def publish(folder: Path, model: str, version: str, behaviour: str) -> ModelVersion:
    """Publish a version that answers with its name, or one that cannot be loaded."""
    path = folder / "store" / model / version / "model.skops"
    path.parent.mkdir(parents=True)
    path.write_bytes(version.encode() if behaviour == "sound" else NO_MODEL)
    return published(path, version, "sklearn", model=model)


def quick_local_kserve(folder: Path) -> tuple[QuickHook, Any]:
    """Return a hook, and what publishes versions of a model for it."""
    return QuickHook(folder), lambda model, version, behaviour: publish(folder, model, version, behaviour)
