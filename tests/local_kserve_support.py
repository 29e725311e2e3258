"""Versions of toy models of several formats, and a hook on KServe's own servers for them."""

from __future__ import annotations

import json
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import Connection

from include.contracts.version.model_files import digest_of
from kubeflow_provider.services import Deployment, ModelVersion
from local_services.kserve_server.hook import LocalKServeHook
from tests.serving_support import free_port
from tests.waiting import LIMIT_SECONDS

MODEL = "toy"
GOOD = json.dumps({"instances": ["a good place"]}).encode()
NO_MODEL = b"no model at all"


def connection(python: str, state_dir: Path, *, port: int | None = None, **extra: Any) -> Connection:
    """Return a connection to an installation of its own."""
    fields = {"python": python, "state_dir": str(state_dir), **extra}
    return Connection(
        conn_id="local_kserve_test", conn_type="local_kserve", port=port or free_port(), extra=json.dumps(fields)
    )


@dataclass
class Installation:
    """A hook on servers of its own, and a folder to publish in.

    :param writer: a process that writes scikit-learn models (``tests/local_kserve_models.py``).
    """

    hook: LocalKServeHook
    connection: Connection
    store: Path
    writer: subprocess.Popen[str]

    def write(self, path: Path, kind: str, **more: str) -> Path:
        """Write a scikit-learn model."""
        assert self.writer.stdin
        assert self.writer.stdout
        self.writer.stdin.write(json.dumps({"path": str(path), "kind": kind, **more}) + "\n")
        self.writer.stdin.flush()
        assert self.writer.stdout.readline() == "written\n"
        return path

    def build(
        self, version: str, *, model: str = MODEL, behaviour: str = "sound", protocol: str = "v1"
    ) -> ModelVersion:
        """Publish a version that answers with its name, or one that cannot be loaded."""
        path = self.store / model / version / "model.skops"
        if behaviour == "sound":
            self.write(path, "version", version=version)
        else:
            path.parent.mkdir(parents=True)
            path.write_bytes(NO_MODEL)
        return published(path, version, "sklearn", protocol, model=model)

    def ready(self, candidate: ModelVersion) -> Deployment:
        """Deploy a candidate, and wait until it is READY or FAILED."""
        deployment: Deployment | None = self.hook.deploy_candidate(candidate)
        deadline = time.monotonic() + LIMIT_SECONDS
        while deployment and not deployment.state.is_terminal:
            assert time.monotonic() < deadline
            time.sleep(0.2)
            deployment = self.hook.get_deployment(candidate.model, candidate.version)
        assert deployment
        return deployment


def published(path: Path, version: str, model_format: str, protocol: str = "v1", *, model: str = MODEL) -> ModelVersion:
    """Return a version whose file or folder lies at a path."""
    return ModelVersion(
        model=model,
        version=version,
        archive_uri=path.as_uri(),
        archive_sha256=digest_of(path),
        settings={"predictor": {"format": model_format, "protocol": protocol}},
    )


@contextmanager
def local_kserve(python: str, folder: Path, **extra: Any) -> Iterator[Installation]:
    """Yield an installation; stop its processes at the end."""
    conn = connection(python, folder / "state", **extra)
    hook = LocalKServeHook("local_kserve_test", connection=conn)
    command = [python, str(Path(__file__).with_name("local_kserve_models.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        try:
            yield Installation(hook=hook, connection=conn, store=folder / "store", writer=writer)
        finally:
            hook.stop()
            assert writer.stdin
            writer.stdin.close()


def onnx_adding_one() -> bytes:
    """Return an ONNX model ``y = x + 1`` for rows of two numbers.

    Written by hand, because the library that writes them is in no environment that needs it: fields of ``onnx.proto``
    by their numbers.
    """
    float_type = 1

    def tensor_of_rows(name: str) -> bytes:
        shape = _field(1, _field(2, b"rows")) + _field(1, _number(1, 2))
        return _field(1, name.encode()) + _field(2, _field(1, _number(1, float_type) + _field(2, shape)))

    node = _field(1, b"x") + _field(1, b"one") + _field(2, b"y") + _field(4, b"Add")
    one = _number(1, 1) + _number(2, float_type) + _field(8, b"one") + _field(9, struct.pack("<f", 1.0))
    graph = _field(1, node) + _field(2, b"graph") + _field(5, one)
    graph += _field(11, tensor_of_rows("x")) + _field(12, tensor_of_rows("y"))
    return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3, value])


def _field(field: int, content: bytes) -> bytes:
    assert len(content) < 1 << 14
    return bytes([field << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content
