"""Versions of a toy model for the native server, and a hook on processes of its own for them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import Connection

from kubeflow_provider.services import ModelVersion
from local_services.native_server.hook import LocalNativeHook
from tests.serving_support import MODEL, free_port

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
        for module in ("__init__", "cpus", "open_inference", "protocol", "text"):
            file.write(_SERVING / f"{module}.py", f"classifier_serving/{module}.py")
        file.write(_TOY, "classifier_serving/predictor.py")
    return ModelVersion(
        model=model,
        version=version,
        archive_uri=folder.as_uri(),
        archive_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        settings={**SETTINGS, **settings},
    )


def native_connection(python: str, state_dir: Path, *, port: int | None = None) -> Connection:
    """Return a connection to an installation of its own."""
    extra = json.dumps({"python": python, "state_dir": str(state_dir)})
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
