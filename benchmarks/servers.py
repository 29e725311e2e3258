"""The servers that are compared: ours as it is shipped, and what others would serve the same model with."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.load import ROOT, Target
from include.classifier.packaging.archive import build_archive
from include.classifier.packaging.server import start
from include.classifier.packaging.server_settings import server_config
from include.torchserve import free_ports

MODEL = "reviews"
VERSION = "20260101000000"
RIVALS_PYTHON = ROOT / ".venv" / "rivals" / "bin" / "python"
KSERVE_PYTHON = ROOT / ".venv" / "rivals-kserve" / "bin" / "python"
_START_SECONDS = 300
#: Between two tries whether a server answers already.
_POLL_SECONDS = 0.05
_HOST = "127.0.0.1"
#: What the walk-through writes into its config.properties.
_SEED_MODEL = "torch-model"
_SEED_SETTINGS = {"minWorkers": 1, "maxWorkers": 5, "batchSize": 1, "maxBatchDelay": 10, "responseTimeout": 60}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs.

    :param write: makes the body of a request from a text.
    :param read: takes from the body of an answer what it tells: probabilities by label, of all labels or of the best
        one, or nothing but that label.
    :param pid: of the process that was started; all others are its children.
    :param first_answer_seconds: from its start to the first answer to a text.
    """

    target: Target
    write: Callable[[str], str]
    read: Callable[[str], Mapping[str, float] | str]
    pid: int = 0
    first_answer_seconds: float = 0.0


@contextlib.contextmanager
def ours(model: Path, *, settings: Mapping[str, Any] | None = None, threads: int | None = None) -> Iterator[Server]:
    """Serve a model folder as the image does in a cluster.

    :param settings: the settings of ``ModelConfig.serving``; default: theirs.
    :param threads: of each worker; default: what the handler chooses.
    """
    with _folder() as folder:
        package = folder / "package"
        archive = package / "model-store" / f"{MODEL}.mar"
        build_archive(model, model=MODEL, version=VERSION, target=archive, serving=settings)
        with served(package, settings=settings, threads=threads) as server:
            yield server


@contextlib.contextmanager
def served(package: Path, *, settings: Mapping[str, Any] | None = None, threads: int | None = None) -> Iterator[Server]:
    """Serve a package of which the archive is there already; see :func:`ours`."""
    config = package / "config" / "config.properties"
    config.parent.mkdir(exist_ok=True)
    config.write_text(server_config(MODEL, VERSION, settings or {}), encoding="utf-8")
    port, metrics_port = free_ports(2)
    with _folder() as folder:
        command = [sys.executable, "-m", "include.classifier.serve", str(package), "--folder", str(folder / "serving")]
        command += ["--host", _HOST, "--port", str(port), "--metrics-port", str(metrics_port)]
        environment = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        server = Server(target=Target(url=f"http://{_HOST}:{port}/v1/models/{MODEL}:predict"), write=_v1, read=_first)
        with _running(server, command, folder / "log.txt", environment) as running:
            yield running


@contextlib.contextmanager
def native(model: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve a model folder with the native server, as the image does in a cluster.

    :param environment: variables that it gets besides.
    """
    with _folder() as folder:
        package, port, metrics_port = folder / "package", *free_ports(2)
        build_archive(model, model=MODEL, version=VERSION, target=package / "model-store" / f"{MODEL}.mar")
        command = [sys.executable, "-m", "include.classifier.native", str(package), "--folder", str(folder / "own")]
        command += ["--host", _HOST, "--port", str(port), "--metrics-port", str(metrics_port), "--grpc-port", "0"]
        server = Server(target=Target(url=f"http://{_HOST}:{port}/v1/models/{MODEL}:predict"), write=_v1, read=_first)
        with _running(server, command, folder / "log.txt", environment) as running:
            yield running


@contextlib.contextmanager
def seed_handler(model: Path) -> Iterator[Server]:
    """Serve with a tutorial's handler in the same TorchServe, with the settings that come with it."""
    with _folder() as folder:
        package, port, metrics_port = folder / "package", *free_ports(2)
        _pack_seed_handler(model, package)
        snapshot = {"defaultVersion": "true", "marName": f"{_SEED_MODEL}.mar", **_SEED_SETTINGS}
        models = {"name": "startup.cfg", "modelCount": 1, "models": {_SEED_MODEL: {"1.0": snapshot}}}
        (package / "config").mkdir()
        (package / "config" / "config.properties").write_text(
            "enable_envvars_config=true\ninstall_py_dep_per_model=true\ndisable_token_authorization=true\n"
            f"model_store={package / 'model-store'}\nmodel_snapshot={json.dumps(models)}\n",
            encoding="utf-8",
        )
        server = Server(
            target=Target(url=f"http://{_HOST}:{port}/predictions/{_SEED_MODEL}", content_type="text/plain"),
            write=str,
            read=str,
        )
        began = time.monotonic()
        with (folder / "log.txt").open("wb") as log:
            process = start(
                package,
                folder,
                inference_address=f"http://{_HOST}:{port}",
                metrics_address=f"http://{_HOST}:{metrics_port}",
                output=log,
            )
        with _killed(process):
            yield _answering(server, process, folder / "log.txt", began)


@contextlib.contextmanager
def plain_fastapi(model: Path) -> Iterator[Server]:
    """Serve with FastAPI and a pipeline of Transformers."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.rivals.plain_fastapi", str(model), str(port)]
    server = Server(
        target=Target(url=f"http://{_HOST}:{port}/predict"),
        write=lambda text: json.dumps({"text": text}),
        read=lambda body: _by_label(json.loads(body)),
    )
    with _folder() as folder, _running(server, command, folder / "log.txt") as running:
        yield running


@contextlib.contextmanager
def kserve(model: Path) -> Iterator[Server]:
    """Serve with KServe's own Python server and a pipeline of Transformers, from an environment of its own."""
    (port,) = free_ports(1)
    command = [str(KSERVE_PYTHON), str(ROOT / "benchmarks" / "rivals" / "kserve_model.py")]
    command += ["--model_name", MODEL, "--model_dir", str(model), "--http_port", str(port), "--enable_grpc", "false"]
    server = Server(
        target=Target(url=f"http://{_HOST}:{port}/v1/models/{MODEL}:predict"),
        write=_v1,
        read=lambda body: _by_label(json.loads(body)["predictions"]),
    )
    with _folder() as folder, _running(server, command, folder / "log.txt") as running:
        yield running


@contextlib.contextmanager
def mlserver(model: Path) -> Iterator[Server]:
    """Serve with MLServer's Hugging Face runtime, from an environment of its own."""
    port, grpc_port, metrics_port = free_ports(3)
    parameters = {"task": "text-classification", "pretrained_model": "model", "pretrained_tokenizer": "model"}
    documents = {
        "settings.json": {"host": _HOST, "http_port": port, "grpc_port": grpc_port, "metrics_port": metrics_port},
        "model-settings.json": {
            "name": MODEL,
            "implementation": "mlserver_huggingface.HuggingFaceRuntime",
            "parameters": {"extra": parameters},
        },
    }
    with _folder() as folder:
        _write_for_transformers_4(model, folder / "model")
        for name, document in documents.items():
            (folder / name).write_text(json.dumps(document), encoding="utf-8")
        command = [str(RIVALS_PYTHON.with_name("mlserver")), "start", str(folder)]
        mended = {"PYTHONPATH": str(ROOT / "benchmarks" / "rivals" / "mlserver_today")}
        server = Server(
            target=Target(url=f"http://{_HOST}:{port}/v2/models/{MODEL}/infer"),
            write=lambda text: json.dumps(
                {"inputs": [{"name": "args", "shape": [1], "datatype": "BYTES", "data": [text]}]}
            ),
            read=lambda body: _by_label([json.loads(json.loads(body)["outputs"][0]["data"][0])]),
        )
        with _running(server, command, folder / "log.txt", mended, cwd=folder) as running:
            yield running


def _v1(text: str) -> str:
    return json.dumps({"instances": [text]})


def _first(body: str) -> Mapping[str, float]:
    return json.loads(body)["predictions"][0]["probabilities"]


def _by_label(scores: Sequence[Any]) -> dict[str, float]:
    """Return what a pipeline of Transformers answers as probabilities by label."""
    found = scores[0] if isinstance(scores[0], list) else scores
    return {score["label"]: score["score"] for score in found}


def _write_for_transformers_4(model: Path, target: Path) -> None:
    """Link a model folder's files, but name the tokenizer's class as it was called before Transformers 5."""
    target.mkdir()
    for file in model.iterdir():
        (target / file.name).symlink_to(file)
    settings = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    (target / "tokenizer_config.json").unlink()
    (target / "tokenizer_config.json").write_text(
        json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8"
    )


def _pack_seed_handler(model: Path, package: Path) -> None:
    """Pack as the walk-through does, but without deflating the weights, which takes its time and changes nothing."""
    (package / "model-store").mkdir(parents=True)
    extra = [str(path) for path in sorted(model.iterdir()) if path.suffix == ".json"]
    command = [
        str(Path(sys.executable).with_name("torch-model-archiver")),
        *("--model-name", _SEED_MODEL, "--version", "1.0", "--archive-format", "zip-store"),
        *("--handler", str(ROOT / "benchmarks" / "rivals" / "seed_handler.py")),
        *("--serialized-file", str(model / "model.safetensors"), "--extra-files", ",".join(extra)),
        *("--export-path", str(package / "model-store")),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"TMPDIR": str(package)})


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Yield a private folder with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ts-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def _running(
    server: Server, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, cwd: Path = ROOT
) -> Iterator[Server]:
    """Start a server, wait for its first answer, and end it with the block."""
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | {"HF_HUB_OFFLINE": "1"} | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    with _killed(process):
        yield _answering(server, process, log, began)


@contextlib.contextmanager
def _killed(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(process.pid)
            for member in [*server.children(recursive=True), server]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        process.wait()


def _answering(server: Server, process: subprocess.Popen[bytes], log: Path, began: float) -> Server:
    """Return a server that was started when it has answered a text.

    :param began: when it was started, by the monotonic clock.
    :raises RuntimeError: when it ends, or does not answer in time.
    """
    body = server.write("ready")
    while not _answers(server.target, body):
        if process.poll() is not None or time.monotonic() - began > _START_SECONDS:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
            raise RuntimeError(f"{process.args!r} did not answer within {_START_SECONDS} s. Its log ends with:\n{tail}")
        time.sleep(_POLL_SECONDS)
    return replace(server, pid=process.pid, first_answer_seconds=time.monotonic() - began)


def _answers(target: Target, body: str) -> bool:
    address = urlsplit(target.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_START_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("POST", address.path, body.encode(), {"Content-Type": target.content_type})
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
