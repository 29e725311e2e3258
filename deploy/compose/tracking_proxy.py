"""All of MLflow that trainings reach: they write runs and read them, and the registry is not among it.

``tracking_proxy.py URL`` hands the requests of `ROUTES`, and files for a run, on to the MLflow server at this address.
It refuses all others: MLflow has some four hundred routes, and a later version has more. It needs nothing but Python's
own library.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

PORT = 5000
_API = "/api/2.0/mlflow"
#: None of them deletes, knows of registered models, or has the server open a place that the request chooses.
ROUTES = frozenset(
    {
        ("GET", "/health"),
        ("POST", f"{_API}/experiments/create"),
        ("GET", f"{_API}/experiments/get"),
        ("GET", f"{_API}/experiments/get-by-name"),
        ("POST", f"{_API}/runs/create"),
        ("POST", f"{_API}/runs/update"),
        ("GET", f"{_API}/runs/get"),
        ("POST", f"{_API}/runs/search"),
        ("POST", f"{_API}/runs/log-batch"),
        ("POST", f"{_API}/runs/log-metric"),
        ("POST", f"{_API}/runs/log-parameter"),
        ("POST", f"{_API}/runs/set-tag"),
        ("GET", f"{_API}/metrics/get-history"),
    }
)
#: <experiment>/<run>/artifacts/<name>, unescaped: no name begins with a dot, and nothing is left to unescape.
_FILE = re.compile(r"/api/2\.0/mlflow-artifacts/artifacts/[0-9]+/[0-9a-f]{32}/artifacts(/(?!\.)[^/\\%\0-\x1f]+)+")
_TARGET = re.compile(r"(/[!-~]*?)(\?[!-~]*)?")
_BLOCK_BYTES = 1 << 16
_SECONDS = 60


def may_pass(method: str, target: str) -> bool:
    """Return whether a request may go on to MLflow.

    :param target: path and query, as they stand in the request.
    """
    match = _TARGET.fullmatch(target)
    if match is None:
        return False
    path = match[1]
    return (method, path) in ROUTES or (method == "PUT" and _FILE.fullmatch(unquote(path)) is not None)


class TrackingProxy(ThreadingHTTPServer):
    """Listens to trainings.

    :param address: host and port.
    :param mlflow: URL of the server.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], mlflow: str) -> None:
        super().__init__(address, Request)
        self.mlflow = urlsplit(mlflow).netloc


class Request(BaseHTTPRequestHandler):
    """One request. Its connection ends with it, so that no second one can hide in its body."""

    server: TrackingProxy
    timeout = _SECONDS

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not may_pass(self.command, self.path):
            self._refuse(403, "PERMISSION_DENIED", "Trainings may write and read runs, and nothing else of MLflow.")
        elif "Transfer-Encoding" in self.headers or not re.fullmatch(r"[0-9]{1,12}", length):
            self._refuse(411, "INVALID_PARAMETER_VALUE", "A body needs a Content-Length.")
        else:
            self._hand_on(int(length))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _hand_on(self, length: int) -> None:
        headers = {"Content-Type": self.headers.get_content_type(), "Content-Length": str(length)}
        with contextlib.closing(http.client.HTTPConnection(self.server.mlflow, timeout=_SECONDS)) as mlflow:
            try:
                mlflow.request(self.command, self.path, self._body(length), headers)
                answer = mlflow.getresponse()
            except (OSError, http.client.HTTPException):
                self._refuse(503, "TEMPORARILY_UNAVAILABLE", "MLflow does not answer.")
                return
            self.send_response(answer.status)
            for name in ("Content-Type", "Content-Length"):
                if value := answer.headers[name]:
                    self.send_header(name, value)
            self.end_headers()
            while block := answer.read(_BLOCK_BYTES):
                self.wfile.write(block)

    def _body(self, length: int) -> Iterator[bytes]:
        while length and (block := self.rfile.read(min(length, _BLOCK_BYTES))):
            length -= len(block)
            yield block

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer in the words of MLflow's own errors, which its client shows."""
        body = json.dumps({"error_code": code, "message": message}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Tell what was refused or went wrong; a training sends points by the thousand."""
        if int(code) >= 400:
            super().log_request(code, size)


if __name__ == "__main__":
    TrackingProxy(("", PORT), sys.argv[1]).serve_forever()
