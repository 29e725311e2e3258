"""Serves a package until it is told to stop: loads, listens, and ends without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from include.classifier.native.app import State, application, metrics_application
from include.classifier.native.batcher import Batcher
from include.classifier.native.metrics import Metrics
from include.classifier.native.model import ServedModel
from include.classifier.native.predictions import Predictions, ThreadForward
from include.classifier.native.workers import WorkerForward
from include.classifier.packaging.archive import open_archive
from include.classifier.packaging.served_package import ARCHIVE_SHA256, pin

#: Longer than what stands before the server keeps a connection that nobody uses: whoever closes it first should be
#: who sends requests over it.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the server takes on.

    :param batch_tokens: that go through the model at once, padding included.
    :param queue_tokens: that may wait for it.
    :param queue_requests: that may be under way.
    :param queue_bytes: that their bodies may have together.
    """

    batch_tokens: int = 4096
    queue_tokens: int = 1_000_000
    queue_requests: int = 100
    queue_bytes: int = 100_000_000


def serve(
    package: Path,
    folder: Path,
    *,
    host: str,
    port: int,
    metrics_port: int,
    drain_seconds: float,
    limits: Limits,
    workers: int | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code.

    The sockets are opened when the model is loaded, so that a probe that only connects tells the truth too. After the
    first SIGTERM it goes on serving for a while and says that it is not ready, so that requests on their way are
    answered.

    :param package: folder with ``model-store/``.
    :param folder: emptied, and readable for this user only.
    :param drain_seconds: how long it serves on after SIGTERM.
    :param workers: processes that compute; default: as the archive says. One computes in a thread of this process.
    :raises PackageError: when the folder holds no package, or another one than ``$ARCHIVE_SHA256`` says.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    name = pin(package, folder / "package", os.environ.get(ARCHIVE_SHA256) or None)
    unpacked = open_archive(folder / "package" / "model-store" / f"{name}.mar", folder / "model")
    shutil.rmtree(folder / "package")
    model = ServedModel(unpacked, workers=workers)
    # Before there are sockets, which its workers would hold open when nobody answers there any more.
    service = Service(model, limits)
    try:
        with _listening(host, port) as predictions_socket, _listening(host, metrics_port) as metrics_socket:
            asyncio.run(_serve(service, predictions_socket, metrics_socket, drain_seconds))
    finally:
        service.forward.stop()
    return int(service.has_lost_a_worker)


class Service:
    """A model with all that stands between it and its sockets."""

    def __init__(self, model: ServedModel, limits: Limits) -> None:
        self.state = state = State(model.name, model.version, model.labels)
        self.metrics = metrics = Metrics(model.name, model.version)
        self.has_lost_a_worker = False
        self.forward: ThreadForward | WorkerForward
        if model.workers > 1:
            self.forward = WorkerForward(model.compute_in_worker, metrics, workers=model.workers)
        else:
            self.forward = ThreadForward(model.predictor, metrics)
        self.batcher = batcher = Batcher(
            self.forward, limits.batch_tokens, limits.queue_tokens, lanes=model.workers, on_batch=metrics.add_batch
        )
        predictions = Predictions(
            model, batcher, metrics, max_requests=limits.queue_requests, max_bytes=limits.queue_bytes
        )
        metrics.gauges = {
            "model_server_ready": ("Whether it should be sent requests.", lambda: int(not state.is_draining)),
            "model_server_requests_under_way": ("Requests that are not answered yet.", lambda: predictions.under_way),
            "model_server_waiting_texts": ("Texts that wait for the model.", lambda: batcher.waiting_texts),
            "model_server_waiting_tokens": ("Their tokens, without padding.", lambda: batcher.waiting_tokens),
        }
        self.predictions = predictions
        self.servers = (
            HttpServer(application(state, predictions, metrics), grace_seconds=model.response_seconds),
            HttpServer(metrics_application(metrics), grace_seconds=1),
        )


async def _serve(
    service: Service, predictions_socket: socket.socket, numbers_socket: socket.socket, drain_seconds: float
) -> None:
    """Run both servers until a signal ends them: the predictions first, so that the last ones are counted."""
    loop = asyncio.get_running_loop()
    predictions, numbers = service.servers

    def stop(number: signal.Signals) -> None:
        is_first = not service.state.is_draining
        service.state.is_draining = True
        # Kubernetes tells the pod and whoever sends it requests at the same time: some still come.
        wait = drain_seconds if number == signal.SIGTERM and is_first else 0
        loop.call_later(wait, predictions.stop)

    def end() -> None:
        # Kubernetes starts the container anew; forking from a process with threads is no way to mend it.
        service.has_lost_a_worker = True
        stop(signal.SIGTERM)

    await service.forward.start(end)
    print(f"Serving {service.state.model} on {predictions_socket.getsockname()[:2]}.", flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    counting = loop.create_task(numbers.serve([numbers_socket]))
    try:
        await predictions.serve([predictions_socket])
    finally:
        numbers.stop()
        await counting


class HttpServer(uvicorn.Server):
    """A server of uvicorn that leaves the signals alone.

    :param grace_seconds: how long requests that are under way may take when it is stopped.
    """

    def __init__(self, app: ASGIApp, *, grace_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(grace_seconds) + 1,
        )
        super().__init__(config)

    def stop(self) -> None:
        """Take no more connections, answer what is under way, and end."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to whoever runs the server."""
        yield


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens, so that a port that is taken is known before anything else."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener:
        yield listener
