"""How the server speaks HTTP: with a parser and an event loop in C, and no head that is larger than it should be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import httptools
import uvicorn
import uvloop
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Longer than what stands before the server keeps a connection that nobody uses: whoever closes it first should be
#: who sends requests over it.
_KEEP_ALIVE_SECONDS = 75
#: Connections that nobody has taken yet.
BACKLOG = 2048

#: Of the head of a request, and of what else stands around its body.
MAX_HEAD_BYTES = 65_536
#: What may stand around each byte of a body: the frame of a chunk that has no more than that one.
_FRAME_BYTES = 8


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return what the server runs in."""
    return uvloop.new_event_loop()


class Http(HttpToolsProtocol):
    """One connection.

    Two things are not left to the parser. It would keep a head, or the trailers behind a body, however long they are.
    And it takes what stands behind a head that offers another protocol for that one, while a client that offers HTTP/2
    with a request, as Java's does, goes on in HTTP/1.1 when it is answered so.
    """

    _besides = _of_body = 0

    def data_received(self, data: bytes) -> None:
        """Read what has come, and refuse what is no request, or has more around its body than a head may have."""
        self._unset_keepalive_if_required()
        self._besides += len(data)
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._besides > MAX_HEAD_BYTES + _FRAME_BYTES * self._of_body and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def _feed(self, data: bytes) -> bytes:
        """Read all; return what is to be read in its place where a head has offered another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as found:
            method, (begin,) = self.parser.get_method(), found.args
            if method == b"CONNECT":
                raise httptools.HttpParserError("This is no proxy.") from None
            self.parser = httptools.HttpRequestParser(self)
            kept = [(name, value) for name, value in self.headers if name not in (b"upgrade", b"connection")]
            head = b"".join(b"%b: %b\r\n" % header for header in kept)
            return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self.url, head) + data[begin:]
        return b""

    def on_message_begin(self) -> None:
        """Count anew."""
        self._besides = self._of_body = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, which has limits of its own."""
        self._besides -= len(body)
        self._of_body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        if not self.parser.should_upgrade():
            super().on_message_complete()


class HttpServer(uvicorn.Server):
    """A server of uvicorn that leaves the signals alone.

    :param grace_seconds: how long requests that are under way may take when it is stopped.
    """

    def __init__(self, app: ASGIApp, *, grace_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            http=Http,
            lifespan="off",
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
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
