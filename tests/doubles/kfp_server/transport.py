"""HTTP in front of the API server: faults are made here, requests are recorded here."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_LOGIN_PAGE = "<!doctype html><html><head><title>Log in to Your Account</title></head><body><form></form></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it arrived; ``query`` is decoded once."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What is sent back: a document as JSON, text as it is."""

    body: Any
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def encoded(self) -> bytes:
        """Return the bytes of the body."""
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass(slots=True, kw_only=True)
class Fault:
    """What goes wrong with the next requests of a kind.

    :param kind: ``reset``, ``status``, ``html``, ``malformed`` or ``slow``.
    :param handled: ``before``: the server never sees the request; ``after``: it has handled it; ``late``: it handles
        it once the client has gone.
    """

    kind: str
    method: str | None
    path: str | None
    times: int
    skip: int
    handled: str
    status: int
    seconds: float
    headers: tuple[tuple[str, str], ...]
    body: Any

    def concerns(self, request: Request) -> bool:
        """Say whether this request is one of those, and count it."""
        if (self.method and self.method != request.method) or (self.path and self.path not in request.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times <= 0:
            return False
        self.times -= 1
        return True


class HttpServer:
    """An HTTP server on a free loopback port that can go down and come back, and whose answers can be spoilt.

    :param answer: makes the response for a request.
    """

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self._answer = answer
        self._faults: list[Fault] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.requests: list[Request] = []
        #: Mistakes of the server itself; there must be none.
        self.errors: list[BaseException] = []
        self._server = self._start(0)
        self.port = self._server.server_port

    def fault(
        self,
        kind: str,
        *,
        method: str | None = None,
        path: str | None = None,
        times: int = 1,
        skip: int = 0,
        handled: str = "before",
        status: int = 503,
        seconds: float = 0.2,
        headers: tuple[tuple[str, str], ...] = (),
        body: Any = "upstream connect error",
    ) -> None:
        """Spoil the next ``times`` requests that match, after letting ``skip`` of them pass. See :class:`Fault`.

        :param path: part of the path.
        """
        with self._lock:
            self._faults.append(
                Fault(
                    kind=kind,
                    method=method,
                    path=path,
                    times=times,
                    skip=skip,
                    handled=handled,
                    status=status,
                    seconds=seconds,
                    headers=headers,
                    body=body,
                )
            )

    def clear_faults(self) -> None:
        """Be well again."""
        with self._lock:
            self._faults.clear()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections, and close those that are open, for as long as the block lasts."""
        self._stop()
        try:
            yield
        finally:
            self._server = self._start(self.port)

    def close(self) -> None:
        """Stop for good."""
        self._closing.set()
        self._stop()

    def respond(self, request: Request) -> Response | None:
        """Return what to send, ``None`` for a connection that is to be reset."""
        with self._lock:
            self.requests.append(request)
            fault = next((fault for fault in self._faults if fault.concerns(request)), None)
        if fault is None:
            return self._answer(request)
        if fault.kind == "slow":
            self._closing.wait(fault.seconds)
            return self._answer(request)
        if fault.handled == "after":
            self._answer(request)
        elif fault.handled == "late":
            threading.Timer(fault.seconds, self._answer, [request]).start()
        if fault.kind == "status":
            kind = "text/plain" if isinstance(fault.body, str) else "application/json"
            return Response(body=fault.body, status=fault.status, content_type=kind, headers=fault.headers)
        if fault.kind == "html":
            return Response(body=_LOGIN_PAGE, content_type="text/html; charset=utf-8")
        if fault.kind == "malformed":
            return Response(body='{"run_id": "1234')
        assert fault.kind == "reset", fault.kind
        return None

    def _start(self, port: int) -> ThreadingHTTPServer:
        owner = self

        class Handler(_Handler):
            http = owner

        server = _Server(("127.0.0.1", port), Handler)
        server.http = self
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection."""
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    http: HttpServer
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what went wrong, but for clients that have gone away."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.http.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    http: HttpServer
    protocol_version = "HTTP/1.1"
    # Without it the answer's body waits for the acknowledgement of its head.
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.http.opened(self.connection)

    def finish(self) -> None:
        self.http.closed(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        response = self.http.respond(request)
        if response is None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        body = response.encoded()
        self.send_response(response.status)
        for name, value in (("Content-Type", response.content_type), *response.headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _handle
