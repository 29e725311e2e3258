"""Versions of a toy model for the native server, and a hook on processes of its own for them."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import Connection

from kubeflow_provider.services import ModelVersion
from local_services.native_server.hook import LocalNativeHook
from local_services.native_server.server import run
from local_services.roles import Role
from tests.serving_support import MODEL, free_port
from tests.waiting import wait_for

_SERVING = Path(__file__).parents[1] / "include" / "classifier" / "serving"
_TOY = Path(__file__).with_name("toy_predictor.py")
SETTINGS = {"runtime": "native", "workers": 1, "response_timeout_seconds": 30}


def build_native_version(
    store: Path, version: str, *, behaviour: str = "sound", model: str = MODEL, **settings: Any
) -> ModelVersion:
    """Publish a version whose answers name it, or one that cannot be loaded."""
    folder = store / model / version / "package"
    archive = folder / "model-store" / f"{model}.mar"
    archive.parent.mkdir(parents=True)
    described = {"modelName": model, "modelVersion": version, "handler": "none", "configFile": "model-config.yaml"}
    manifest = {"createdOn": "", "runtime": "python", "model": described, "archiverVersion": "0.12.0"}
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("model-config.yaml", "minWorkers: 1\nmaxWorkers: 1\nresponseTimeout: 30\n")
        file.writestr("toy.json", json.dumps({"behaviour": behaviour}))
        file.writestr("classifier.json", json.dumps({"labels": ["bad", "good"]}))
        for module in ("__init__", "cpus", "open_inference", "protocol", "text", "tokenizer_file"):
            file.write(_SERVING / f"{module}.py", f"classifier_serving/{module}.py")
        file.write(_TOY, "classifier_serving/predictor.py")
    return ModelVersion(
        model=model,
        version=version,
        archive_uri=folder.as_uri(),
        archive_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        settings={**SETTINGS, **settings},
    )


def native_connection(python: str, state_dir: Path, *, port: int | None = None, **more: str) -> Connection:
    """Return a connection to an installation of its own.

    :param more: fields besides.
    """
    extra = json.dumps({"python": python, "state_dir": str(state_dir), **more})
    return Connection(conn_id="serving_test", conn_type="local_native", port=port or free_port(), extra=extra)


@contextmanager
def local_native(python: str, folder: Path) -> Iterator[SimpleNamespace]:
    """Yield ``hook``, ``store`` (a folder to publish in) and ``connection``; stop its processes at the end."""
    conn = native_connection(python, folder / "state")
    hook = LocalNativeHook("serving_test", connection=conn)
    try:
        yield SimpleNamespace(hook=hook, store=folder / "store", connection=conn)
    finally:
        hook.stop()


@contextmanager
def native_service(python: str, folder: Path) -> Iterator[SimpleNamespace]:
    """Yield ``hook``, whose connection is a client's, and ``store``; what it asks runs in a thread until the end."""
    server, client = (
        native_connection(python, folder / "state", port=port, role=role)
        for port in [free_port()]
        for role in (Role.SERVER, Role.CLIENT)
    )
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(LocalNativeHook(connection=server), stop))
    thread.start()
    hook = LocalNativeHook("serving_test", connection=client)
    try:
        wait_for(hook._processes.is_router_up, "the service is up")
        yield SimpleNamespace(hook=hook, store=folder / "store")
    finally:
        stop.set()
        thread.join()
