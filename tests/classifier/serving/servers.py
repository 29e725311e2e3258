"""Both servers that serve our packages, as tests see them: a real TorchServe, and our own in a thread of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.classifier.native.connections import new_event_loop
from include.classifier.native.model import ServedModel
from include.classifier.native.server import Limits, Service
from include.classifier.packaging.archive import build_archive, open_archive
from include.classifier.packaging.server import torchserve
from include.classifier.packaging.server_settings import server_config
from tests.waiting import LIMIT_SECONDS, wait_for

VERSION = "20261121030000"
CLIENTS = 8
#: A machine that has other work too must not fail a test for it: no answer takes ten minutes.
SETTINGS = {"workers": 1, "batch_size": CLIENTS, "max_batch_delay_ms": 100, "response_timeout_seconds": 600}


@dataclass(frozen=True)
class Answer:
    """What came of a request."""

    status: int
    headers: Mapping[str, str]  #: By names in lower case.
    body: bytes


class Server:
    """A server that listens on loopback."""

    kind = ""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request over a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)) as connection:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())

    def predict(self, path: str, body: Any, *, content_type: str = "application/json") -> tuple[int, Any]:
        """Post a request and return status and parsed answer.

        :param body: sent as it is when bytes, else as JSON.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.ask("POST", path, content, {"Content-Type": content_type})
        return answer.status, json.loads(answer.body)

    def passes(self) -> int:
        """Count how often the model was handed requests."""
        raise NotImplementedError

    @contextmanager
    def joining(self) -> Iterator[None]:
        """Let what ``CLIENTS`` send in this block reach the model together."""
        yield


class _TorchServe(Server):
    kind = "torchserve"

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(port)
        self.folder = folder

    def passes(self) -> int:
        return (self.folder / "model_log.log").read_text().count("Backend received inference")


class _Native(Server):
    kind = "native"

    def __init__(self, port: int, service: Service) -> None:
        super().__init__(port)
        self.service = service
        self.grpc_port = 0
        self.loop: asyncio.AbstractEventLoop | None = None

    def passes(self) -> int:
        return self.service.metrics.batch_texts.count

    @contextmanager
    def joining(self) -> Iterator[None]:
        held = threading.Event()
        forward, batcher = self.service.forward, self.service.batcher
        computes = forward.computes
        computing: list[int] = []

        def compute(rows: Any) -> Any:
            computing.append(len(rows))
            held.wait(60)
            return computes(rows)

        def let_go() -> None:
            # Whoever came first is with the model already; one of them is refused.
            wait_for(lambda: sum(computing) + batcher.waiting_texts >= CLIENTS - 1, lambda: "they do not come together")
            held.set()

        forward.computes = compute
        watching = threading.Thread(target=let_go)
        watching.start()
        try:
            yield
        finally:
            held.set()
            watching.join()
            forward.computes = computes


@contextmanager
def served(kind: str, model: Path, package: Path) -> Iterator[Server]:
    """Pack a model and serve it, with TorchServe or with our own server."""
    target = package / "model-store" / "tiny.mar"
    build_archive(model, model="tiny", version=VERSION, target=target, serving=SETTINGS)
    if kind == "native":
        with native(open_archive(target, package / "unpacked")) as server:
            yield server
        return
    (package / "config").mkdir()
    (package / "config" / "config.properties").write_text(server_config("tiny", VERSION, SETTINGS))
    with torchserve(package) as running:
        running.wait_until_ready("tiny")
        yield _TorchServe(running.port, running.folder)


@contextmanager
def native(unpacked: Path, limits: Limits | None = None, *, has_grpc: bool = False) -> Iterator[_Native]:
    """Serve an unpacked archive from a thread of this process.

    :param has_grpc: whether gRPC's calls are answered as well.
    """
    with answering(Service(ServedModel(unpacked, workers=1), limits or Limits()), has_grpc=has_grpc) as server:
        yield server


@contextmanager
def answering(service: Service, *, has_grpc: bool = False) -> Iterator[_Native]:
    """Let a service answer from a thread of this process."""
    import torch

    threads = torch.get_num_threads()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        http_server = service.servers[0]
        server = _Native(listener.getsockname()[1], service)
        is_up = threading.Event()

        async def run() -> None:
            grpc_server = service.grpc_server("127.0.0.1:0") if has_grpc else None
            if grpc_server:
                await grpc_server.start()
                server.grpc_port = grpc_server.port
            server.loop = asyncio.get_running_loop()
            is_up.set()
            await http_server.serve([listener])
            if grpc_server:
                await grpc_server.stop(1)

        def run_all() -> None:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(run())

        thread = threading.Thread(target=run_all)
        thread.start()
        try:
            assert is_up.wait(LIMIT_SECONDS)
            yield server
        finally:
            http_server.stop()
            thread.join()
            service.served.close()
            torch.set_num_threads(threads)
