"""The embedded world's serving hook on a server that is a table: its own code, record and store, and no process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubeflow_provider.services import Answer
from local_services.torchserve import loaded_models
from local_services.torchserve.hook import TorchServeHook
from local_services.torchserve.management import RegistrationError
from local_services.torchserve.process import TorchServeProcess
from tests.serving_support import connection

PLACEHOLDER = "0"


class Server:
    """What TorchServe's management API does to models: the first version of one is its default.

    :param changing: called before and after each change, with its name.
    :ivar broken: versions whose workers end while they load, and what is said of that.
    """

    def __init__(self, changing: Callable[[str], None] = lambda change: None) -> None:
        self.changing = changing
        self.broken: dict[str, str] = {}
        self.is_running = False
        self.models: dict[str, dict[str, bool]] = {}
        self.defaults: dict[str, str] = {}

    def start(self) -> None:
        self.is_running, self.models, self.defaults = True, {}, {}

    def is_up(self) -> bool:
        return self.is_running

    def versions(self, model: str) -> dict[str, Any]:
        return {version: {} for version in self.models.get(model, {})}

    def describe(self, model: str, version: str) -> dict[str, Any] | None:
        workers = self.models.get(model, {})
        if version not in workers:
            return None
        return {"workers": [{"status": "READY"}] if workers[version] else []}

    def default_version(self, model: str) -> str | None:
        return self.defaults.get(model)

    def register(self, model: str, archive: str, **parameters: int) -> None:
        self.changing("load")
        version = PLACEHOLDER if archive == "placeholder.mar" else archive.removesuffix(".mar").rpartition("-")[2]
        self.models.setdefault(model, {})[version] = False
        self.defaults.setdefault(model, version)
        self.changing("loaded")

    def start_workers(self, model: str, version: str, workers: int) -> None:
        self.changing("start workers")
        if reason := self.broken.get(version):
            self.unregister(model, version)
            raise RegistrationError(f"{model} {version} was not loaded: {reason}", http_status=500)
        self.models[model][version] = True
        self.changing("workers started")

    def set_default(self, model: str, version: str) -> None:
        self.changing("shift traffic")
        self.defaults[model] = version
        self.changing("traffic shifted")

    def unregister(self, model: str, version: str) -> None:
        if version not in self.models.get(model, {}):
            return
        self.changing("unload")
        del self.models[model][version]
        if not self.models[model]:
            del self.models[model], self.defaults[model]
        self.changing("unloaded")


def quick_hook(monkeypatch: pytest.MonkeyPatch, folder: Path, server: Server) -> TorchServeHook:
    """Return a hook whose server is the given one; users are answered by the version that has the traffic."""

    def answer(hook: TorchServeHook, model: str, body: bytes, *, version: str | None = None, **_: Any) -> Answer:
        served = version or server.defaults.get(model, PLACEHOLDER)
        if not server.models.get(model, {}).get(served):
            return Answer(status_code=503, body={"code": 503}, latency_ms=1)
        try:
            json.loads(body)
        except ValueError:
            return Answer(status_code=400, body={"code": 400}, latency_ms=1)
        return Answer(status_code=200, body={"predictions": [{"version": served}]}, latency_ms=1)

    def start(process: TorchServeProcess) -> None:
        server.start()
        process.log_dir.mkdir(exist_ok=True)

    monkeypatch.setattr(TorchServeProcess, "is_running", lambda process: server.is_running)
    monkeypatch.setattr(TorchServeProcess, "start", start)
    monkeypatch.setattr(TorchServeProcess, "mark_ready", lambda process: None)
    monkeypatch.setattr(TorchServeHook, "_management", server)
    monkeypatch.setattr(TorchServeHook, "predict", answer)
    monkeypatch.setattr(loaded_models, "_DRAIN_SECONDS", 0)
    return TorchServeHook("serving", connection=connection(sys.executable, folder, port=8085))
