"""A Kubernetes API that knows InferenceServices and pods, with predictors behind it, for the pipeline half's tests.

It behaves as KServe does where that matters to a deployment from inside a pipeline: the version before answers
for some time after a change, somebody else may be faster with a change, and the address carries a path.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/team/inferenceservices"
_PODS = "/api/v1/namespaces/team/pods"

#: Gets ``spec.predictor`` and the request's body; returns status and body of the answer.
Predictor = Callable[[dict[str, Any], bytes], tuple[int, Any]]


class Cluster:
    """The state of the double.

    :ivar services: name -> InferenceService as it is stored.
    :ivar pods: as the API writes them.
    :ivar status: merged into every service's status.
    :ivar refusal: status and message with which every change is refused.
    :ivar lag: predictions that the version before still answers after a change.
    :ivar conflicts: of how many replacements somebody else was faster.
    :ivar writes: verb and name of every change, in their order.
    :ivar heads: headers of the predictions, in their order.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.services: dict[str, dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {}
        self.refusal: tuple[int, str] | None = None
        self.lag = 0
        self.conflicts = 0
        self.writes: list[tuple[str, str]] = []
        self.heads: list[Message] = []
        self._before: dict[str, tuple[dict[str, Any], int]] = {}
        self.lock = threading.Lock()

    def change(self, verb: str, name: str, service: dict[str, Any] | None) -> None:
        """Store a service, or remove it."""
        self.writes.append((verb, name))
        if name in self.services:
            self._before[name] = (self.services[name]["spec"]["predictor"], self.lag)
        if service is None:
            del self.services[name]
        else:
            self.services[name] = service

    def answering(self, name: str) -> dict[str, Any] | None:
        """Return the predictor that answers the next prediction."""
        if name not in self.services:
            return None
        before, left = self._before.get(name, ({}, 0))
        if left:
            self._before[name] = (before, left - 1)
            return before
        return self.services[name]["spec"]["predictor"]


@contextmanager
def inference_services(predictor: Predictor, kubeconfig: Path) -> Iterator[Cluster]:
    """Serve a cluster with the namespace ``team`` and write how to reach it."""
    cluster = Cluster(predictor)

    class Handler(_Handler):
        pass

    Handler.cluster = cluster
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    cluster.status["address"] = {"url": f"{address}/v1/models/some:predict"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "double",
        "clusters": [{"name": "double", "cluster": {"server": address}}],
        "users": [{"name": "double", "user": {}}],
        "contexts": [{"name": "double", "context": {"cluster": "double", "user": "double"}}],
    }
    kubeconfig.write_text(json.dumps(config))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path, name = self._name()
        if self.path.startswith(_PODS):
            self._send(200, {"apiVersion": "v1", "kind": "PodList", "items": self.cluster.pods})
        elif path and name in self.cluster.services:
            self._send(200, self.cluster.services[name] | {"status": self.cluster.status})
        else:
            self._fail(404, f'inferenceservices.serving.kserve.io "{name}" not found')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/v1/models/"):
            with self.cluster.lock:
                self.cluster.heads.append(self.headers)
                predictor = self.cluster.answering(self.path.removeprefix("/v1/models/").removesuffix(":predict"))
                status, answer = (404, {}) if predictor is None else self.cluster.predictor(predictor, body)
            self._send(status, answer)
        elif not self._refused():
            service = json.loads(body)
            self.cluster.change("create", service["metadata"]["name"], service)
            self._send(201, service)

    def do_PATCH(self) -> None:
        change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Content-Type"] != "application/merge-patch+json":
            self._fail(415, "the double knows merge patches only")
        elif not self._refused():
            name = self._name()[1]
            self._store("patch", name, _merged(self.cluster.services[name], change))

    def do_PUT(self) -> None:
        service = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self._name()[1]
        with self.cluster.lock:
            self.cluster.conflicts, conflict = max(0, self.cluster.conflicts - 1), self.cluster.conflicts > 0
        if conflict:
            self._fail(409, "the object has been modified")
        elif not self._refused():
            service.pop("status", None)  # A subresource: what is sent of it counts for nothing.
            self._store("replace", name, service)

    def _store(self, verb: str, name: str, service: dict[str, Any]) -> None:
        self.cluster.change(verb, name, service)
        self._send(200, service)

    def do_DELETE(self) -> None:
        if not self._refused():
            self.cluster.change("delete", self._name()[1], None)
            self._send(200, {"kind": "Status", "status": "Success"})

    def _name(self) -> tuple[bool, str]:
        is_service = self.path.startswith(_SERVICES)
        return is_service, self.path.removeprefix(_SERVICES).strip("/")

    def _refused(self) -> bool:
        if self.cluster.refusal:
            self._fail(*self.cluster.refusal)
        return self.cluster.refusal is not None

    def _fail(self, code: int, message: str) -> None:
        self._send(code, {"kind": "Status", "status": "Failure", "message": message, "code": code})

    def _send(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _merged(document: Any, change: Any) -> Any:
    """Apply a merge patch (RFC 7386)."""
    if not isinstance(change, dict):
        return change
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in change.items():
        merged[key] = _merged(merged.get(key), value)
        if value is None:
            del merged[key]
    return merged
