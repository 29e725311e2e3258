"""A real HTTP server that alerts are sent to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET_PATH = "hook-token-4711"


class Listener(BaseHTTPRequestHandler):
    """Keeps what it is told, and refuses as often as it is asked to."""

    refuse = 0
    calls = 0
    alerts: list[dict[str, str]] = []

    def do_POST(self) -> None:
        listener = type(self)
        listener.calls += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if listener.calls > listener.refuse:
            listener.alerts.append(json.loads(body))
        self.send_response(200 if listener.calls > listener.refuse else 500)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@contextmanager
def alert_listener() -> Iterator[tuple[type[Listener], str]]:
    """Yield a listener with its Apprise URL."""
    handler = type("Handler", (Listener,), {"alerts": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield handler, f"json://127.0.0.1:{server.server_port}/{SECRET_PATH}"
        finally:
            server.shutdown()
