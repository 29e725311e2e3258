"""Serves a package until it is told to stop: loads, listens, and ends without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.classifier.native.app import application, metrics_application
from include.classifier.native.batches.batcher import Batcher
from include.classifier.native.batches.forward import ThreadForward
from include.classifier.native.batches.workers import WorkerForward
from include.classifier.native.connections import BACKLOG, HttpServer, new_event_loop
from include.classifier.native.metrics import Metrics
from include.classifier.native.model import ServedModel
from include.classifier.native.predictions import Predictions
from include.classifier.native.served import Served, State
from include.classifier.native.swap import Package, swap
from include.contracts.monitoring.capture_environment import SETTINGS_VARIABLE

if TYPE_CHECKING:
    from include.classifier.native.v2_grpc.server import GrpcServer

#: Messages of gRPC's calls that are on their way: of what is there of them already nothing is known.
_MOST_ARRIVING = 100


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
    queue_requests: int = 1000
    queue_bytes: int = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Where the server listens.

    :param host: address of all ports.
    :param port: of the predictions over HTTP.
    :param metrics_port: of the numbers.
    :param grpc_port: of the predictions over gRPC; 0: none.
    :param unix_socket: path of a socket for the predictions over HTTP, in the place of all ports; the numbers are
        there as well.
    """

    host: str = "127.0.0.1"
    port: int = 0
    metrics_port: int = 0
    grpc_port: int = 0
    unix_socket: Path | None = None


def serve(
    package: Path, folder: Path, *, doors: Doors, drain_seconds: float, limits: Limits, workers: int | None = None
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code.

    The sockets are opened when the model is loaded, so that a probe that only connects tells the truth too. After the
    first SIGTERM it goes on serving for a while and says that it is not ready, so that requests on their way are
    answered. At SIGHUP it loads what the package holds by then in the place of what it serves.

    :param package: folder with ``model-store/``.
    :param folder: emptied, and readable for this user only.
    :param drain_seconds: how long it serves on after SIGTERM.
    :param workers: processes that compute; default: as the archive says. One computes in a thread of this process.
    :raises PackageError: when the folder holds no package, or another one than ``$ARCHIVE_SHA256`` says.
    """
    source = Package(package, folder, workers=workers)
    # Before there are sockets, which its workers would hold open when nobody answers there any more.
    service = Service(source.load(), limits, with_numbers=bool(doors.unix_socket))
    try:
        with listening(doors) as (predictions, numbers), asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_Running(service, source, drain_seconds).serve(predictions, numbers, doors))
    finally:
        service.served.close()
        if service.state.capture:
            service.state.capture.close()
    return int(service.has_lost_a_worker)


class Service:
    """A model with all that stands between it and its sockets.

    :param with_numbers: whether they are answered where the predictions are.
    """

    def __init__(self, model: ServedModel, limits: Limits, *, with_numbers: bool = False) -> None:
        self.limits = limits
        self.state = state = State(model)
        self.metrics = metrics = Metrics(model.name, model.version)
        self.has_lost_a_worker = False
        self._capture()
        self.predictions = predictions = Predictions(
            self.bring_up(model), metrics, max_requests=limits.queue_requests, max_bytes=limits.queue_bytes
        )
        metrics.gauges = {
            "model_server_ready": ("Whether it should be sent requests.", lambda: int(not state.is_draining)),
            "model_server_requests_under_way": ("Requests that are not answered yet.", lambda: predictions.under_way),
            "model_server_waiting_texts": ("Texts that wait for the model.", lambda: self.batcher.waiting_texts),
            "model_server_waiting_tokens": (
                "Their tokens, without padding.",
                lambda: self.batcher.waiting_tokens,
            ),
        }
        self.servers = (
            HttpServer(
                application(state, predictions, metrics, with_numbers=with_numbers),
                grace_seconds=model.response_seconds,
            ),
            HttpServer(metrics_application(metrics), grace_seconds=1),
        )

    def _capture(self) -> None:
        """Capture requests, where the environment says so."""
        if not os.environ.get(SETTINGS_VARIABLE):  # who captures nothing loads nothing for it
            return
        from include.capture.server import ServerCapture

        state = self.state
        capture = state.capture = ServerCapture.of_environment(
            state.model.name, producer="native", folder=lambda: state.model.folder
        )
        if capture:
            self.metrics.captured = capture.numbers

    @property
    def served(self) -> Served:
        """The model that answers."""
        return self.predictions.served

    @property
    def forward(self) -> ThreadForward | WorkerForward:
        """What computes it."""
        return self.served.forward

    @property
    def batcher(self) -> Batcher:
        """What waits for it."""
        return self.served.batcher

    def bring_up(self, model: ServedModel) -> Served:
        """Return a model that is ready to answer, and does not yet."""
        limits = self.limits
        return Served(model, self.metrics, batch_tokens=limits.batch_tokens, queue_tokens=limits.queue_tokens)

    def take(self, served: Served) -> Served:
        """Let a model answer from now on; return the one that did."""
        before, self.predictions.served = self.served, served
        self.state.model = served.model
        self.metrics.version = served.model.version
        return before

    def grpc_server(self, address: str) -> GrpcServer:
        """Return the server of gRPC's calls, in a running event loop.

        :raises OSError: when it cannot listen there.
        """
        # After the workers were forked, which must not know of it.
        from include.classifier.native.v2_grpc.server import GrpcServer

        arriving = min(_MOST_ARRIVING, self.limits.queue_requests)
        return GrpcServer(address, self.state, self.predictions, self.metrics, max_arriving=arriving)


class _Running:
    """A service while it runs, and what signals do to it."""

    def __init__(self, service: Service, package: Package, drain_seconds: float) -> None:
        self._service = service
        self._package = package
        self._drain_seconds = drain_seconds
        self._grpc: GrpcServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(
        self, predictions_socket: socket.socket, numbers_socket: socket.socket | None, doors: Doors
    ) -> None:
        """Run all servers until a signal ends them: the predictions first, so that the last ones are counted."""
        loop = asyncio.get_running_loop()
        predictions, numbers = self._service.servers
        await self._service.forward.start(self._end_without_worker)
        if doors.grpc_port and not doors.unix_socket:
            host = f"[{doors.host}]" if ":" in doors.host else doors.host
            self._grpc = self._service.grpc_server(f"{host}:{doors.grpc_port}")
            await self._grpc.start()
        where = doors.unix_socket or predictions_socket.getsockname()[:2]
        print(f"Serving {self._service.state.model.name} on {where}.", flush=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(swap(self._service, self._package)))
        counting = loop.create_task(numbers.serve([numbers_socket])) if numbers_socket else None
        try:
            await predictions.serve([predictions_socket])
            await asyncio.gather(*self._tasks)
        finally:
            if counting:
                numbers.stop()
                await counting

    def _stop(self, number: signal.Signals) -> None:
        is_first = not self._service.state.is_draining
        self._service.state.is_draining = True
        # Kubernetes tells the pod and whoever sends it requests at the same time: some still come.
        wait = self._drain_seconds if number == signal.SIGTERM and is_first else 0
        asyncio.get_running_loop().call_later(wait, self._end)

    def _end(self) -> None:
        self._service.servers[0].stop()
        if self._grpc:
            self._begin(self._grpc.stop(self._service.state.model.response_seconds))

    def _end_without_worker(self) -> None:
        # Kubernetes starts the container anew; forking from a process with threads is no way to mend it.
        self._service.has_lost_a_worker = True
        self._stop(signal.SIGTERM)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.contextmanager
def listening(doors: Doors) -> Iterator[tuple[socket.socket, socket.socket | None]]:
    """Yield sockets that listen, of predictions and numbers, so that a port that is taken is known before all else."""
    with contextlib.ExitStack() as sockets:
        if doors.unix_socket:
            listener = sockets.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(doors.unix_socket))
            listener.listen(BACKLOG)
            yield listener, None
            return
        family = socket.AF_INET6 if ":" in doors.host else socket.AF_INET
        predictions, numbers = (
            sockets.enter_context(socket.create_server((doors.host, port), family=family, backlog=BACKLOG))
            for port in (doors.port, doors.metrics_port)
        )
        # Connections have it from here. asyncio sets it for sockets that name their protocol alone; without it the body
        # of an answer, which is sent after its head, waits 40 ms for the client to acknowledge that.
        predictions.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield predictions, numbers
