"""HTTP servers on free ports of loopback, as the parts of the double need them."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_STOPS_WITHIN_SECONDS = 0.02


class LoopbackServer(ThreadingHTTPServer):
    """A server with a thread for each connection.

    :param handler: class of its handlers.
    :param port: to listen on; 0 for a free one.
    :param attributes: what they have in common: set on a class of their own.
    """

    daemon_threads = True
    block_on_close = False
    #: The default of 5 would refuse connections under the load that tests make.
    request_queue_size = 128

    def __init__(self, handler: type[LoopbackHandler], *, port: int = 0, **attributes: Any) -> None:
        super().__init__(("127.0.0.1", port), type(handler.__name__, (handler,), attributes))
        self.address = ("127.0.0.1", int(self.server_address[1]))
        self.url = f"http://127.0.0.1:{self.address[1]}"

    def start(self, name: str) -> None:
        threading.Thread(target=self.serve_forever, args=(_STOPS_WITHIN_SECONDS,), name=name, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class LoopbackHandler(BaseHTTPRequestHandler):
    """Reads and writes whole bodies, and logs nothing: what users send is nobody's business."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        return

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send(
        self,
        code: int,
        content: Any,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        """Send an answer; what is neither text nor bytes goes as JSON."""
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content)
        body = content.encode() if isinstance(content, str) else content
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
