"""A toy model in TorchServe's format, sound or broken in one way, and a hook on a TorchServe of its own."""

from __future__ import annotations

import hashlib
import json
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import Connection

from kubeflow_provider.hooks.torchserve import TorchServeHook
from kubeflow_provider.services import ModelVersion

MODEL = "toy-reviews"
LABELS = ("bad", "good")
TEXTS = ("a good place", "a bad place", "good food", "bad service")
GOOD = json.dumps({"instances": ["a good place"]}).encode()

#: What is inside an archive. `BEHAVIOUR` says in which way it is broken; `BUILT_AS` is the code's own version, which
#: tells whether the version in an answer is true.
_HANDLER = """
import json
import os
import time

BEHAVIOUR = "{behaviour}"
BUILT_AS = "{version}"
LABELS = ["bad", "good"]

if BEHAVIOUR == "does not load":
    raise RuntimeError("the weights do not fit the model")


def handle(requests, context):
    if requests is None:
        return None
    return [answer(request.get("body", request.get("data")), context, row) for row, request in enumerate(requests)]


def answer(body, context, row):
    if BEHAVIOUR == "raises":
        raise RuntimeError("no prediction today")
    if BEHAVIOUR == "is slow":
        time.sleep(1)
    if BEHAVIOUR == "tells its environment":
        return {{"environment": dict(os.environ)}}
    try:
        texts = (json.loads(body) if isinstance(body, (bytes, bytearray, str)) else body)["instances"]
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        if BEHAVIOUR != "accepts bad input":
            # Only this request: raising would refuse everything that the server joined with it.
            context.set_response_status(400, "bad input", row)
            return {{"code": 400, "type": "BadInput", "message": "bad input"}}
        texts = []
    return {{"predictions": [predict(text, context.manifest["model"]["modelVersion"]) for text in texts]}}


def predict(text, version):
    labels = LABELS[::-1] if BEHAVIOUR == "labels permuted" else LABELS
    probabilities = dict(zip(labels, [0.2, 0.8] if "good" in text else [0.7, 0.3]))
    label = max(probabilities, key=probabilities.get)
    facts = {{"score": probabilities[label], "probabilities": probabilities, "built_as": BUILT_AS}}
    return {{"label": label, "version": version, **facts}}
"""


def build_version(store: Path, version: str, *, behaviour: str = "", model: str = MODEL) -> ModelVersion:
    """Publish a version: its archive and its ``candidate.json`` with the golden examples of a sound model."""
    folder = store / model / version
    archive = folder / "model-store" / f"{model}.mar"
    archive.parent.mkdir(parents=True)
    described = {"modelName": model, "modelVersion": version, "handler": "toy_handler.py:handle"}
    manifest = {"createdOn": "", "runtime": "python", "model": described, "archiverVersion": "0.12.0"}
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        file.writestr("toy_handler.py", _HANDLER.format(behaviour=behaviour, version=version))
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    document = {
        "model": model,
        "version": version,
        "archive": {"uri": folder.as_uri(), "sha256": sha256},
        "metrics": {"candidate": {"macro_f1": 1.0}, "champion": None, "baseline": {"macro_f1": 1.0}},
        "golden_examples": [_golden(text) for text in TEXTS],
    }
    (folder / "candidate.json").write_text(json.dumps(document))
    settings = {"workers": 1, "batch_size": 4, "max_batch_delay_ms": 5, "response_timeout_seconds": 30}
    return ModelVersion(
        model=model, version=version, archive_uri=folder.as_uri(), archive_sha256=sha256, settings=settings
    )


def candidate_uri(version: ModelVersion) -> str:
    """Return the URI of a version's ``candidate.json``."""
    return f"{version.archive_uri}/candidate.json"


def _golden(text: str) -> dict[str, Any]:
    values = (0.2, 0.8) if "good" in text else (0.7, 0.3)
    return {
        "text": text,
        "label": "good" if "good" in text else "bad",
        "probabilities": dict(zip(LABELS, values, strict=True)),
    }


def free_port() -> int:
    """Return a port of loopback that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connection(python: str, state_dir: Path, *, port: int | None = None, host: str = "127.0.0.1") -> Connection:
    """Return a connection to a TorchServe of its own."""
    extra = {"python": python, "state_dir": str(state_dir)}
    return Connection(
        conn_id="serving_test", conn_type="torchserve", host=host, port=port or free_port(), extra=json.dumps(extra)
    )


@contextmanager
def torchserve(python: str, folder: Path) -> Iterator[SimpleNamespace]:
    """Yield ``hook``, ``store`` (a folder to publish in) and ``connection``; stop the server at the end."""
    conn = connection(python, folder / "state")
    hook = TorchServeHook("serving_test", connection=conn)
    try:
        yield SimpleNamespace(hook=hook, store=folder / "store", connection=conn)
    finally:
        hook.stop()


def connection_json(conn: Connection) -> str:
    """Return a connection in the form of an ``AIRFLOW_CONN_...`` variable."""
    return json.dumps({"conn_type": conn.conn_type, "host": conn.host, "port": conn.port, "extra": conn.extra_dejson})


class FakeContext(dict[str, Any]):
    """What operators need of a task's context, without a database."""

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}
        self.store: dict[str, Any] = {}
        ti = SimpleNamespace(xcom_push=lambda key, value: self.xcoms.update({key: value}))
        store = SimpleNamespace(set=lambda key, value: self.store.update({key: value}), get=self.store.get)
        super().__init__(ti=ti, task_state_store=store)
