"""The web server that the doubles are made of."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    """One request.

    :param target: path and query as they stand in the request line; a proxy is given a whole URL.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    @property
    def cookies(self) -> dict[str, str]:
        return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("cookie", "")).items()}


@dataclass
class Reply:
    """One answer.

    :param headers: pairs, because a cookie is set with a header of its own.
    :param announced_bytes: length that the header announces, where it is not the body's.
    """

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    announced_bytes: int | None = None

    @classmethod
    def json(cls, body: Any, status: int = 200, **headers: str) -> Reply:
        return cls(status, json.dumps(body).encode(), [("Content-Type", "application/json"), *_named(headers)])

    @classmethod
    def html(cls, text: str, status: int = 200) -> Reply:
        page = f"<!DOCTYPE html><html><body>{text}</body></html>"
        return cls(status, page.encode(), [("Content-Type", "text/html; charset=utf-8")])

    @classmethod
    def redirect(cls, location: str, *, status: int = 302) -> Reply:
        return cls(status, b"", [("Location", location)])

    def cookie(self, name: str, value: str, *, attributes: str = "Path=/; HttpOnly") -> Self:
        """Set a cookie with this answer."""
        self.headers.append(("Set-Cookie", f"{name}={value}; {attributes}"))
        return self

    def forget(self, name: str) -> Self:
        """Delete a cookie with this answer."""
        return self.cookie(name, "", attributes="Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT")


def _named(headers: dict[str, str]) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), value) for name, value in headers.items()]


class HangUp(Exception):
    """Ends the connection without an answer, with a reset as a crashed server's does."""


class WebServer(ABC):
    """Answers requests until it is closed; a context manager.

    :param tls: makes it speak HTTPS.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        #: Set when the server closes: a slow answer waits on it instead of sleeping.
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @abstractmethod
    def answer(self, asked: Asked) -> Reply:
        """Answer one request; called in a thread of its own.

        :raises HangUp: to answer nothing.
        """

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # tests with many clients at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what goes wrong, but for a client that goes away or distrusts the certificate."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            server.asked.append(asked)
            try:
                reply = server.answer(asked)
            except HangUp:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            length = len(reply.body) if reply.announced_bytes is None else reply.announced_bytes
            self.close_connection = self.close_connection or length != len(reply.body)
            self.send_response(reply.status)
            for name, value in [*reply.headers, ("Content-Length", str(length))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
