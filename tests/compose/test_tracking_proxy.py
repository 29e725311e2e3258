"""What trainings reach of MLflow, tried without an engine; `test_stack` attacks the real one."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from deploy.compose.tracking_proxy import ROUTES, TrackingProxy, may_pass

RUN = "/api/2.0/mlflow-artifacts/artifacts/1/" + "0a" * 16
WRITES_A_RUN = "/api/2.0/mlflow/runs/create"


def routes_of_mlflow() -> Iterator[tuple[str, str, str]]:
    """Yield service, method and path of every route that MLflow's client knows, under each of its prefixes."""
    from mlflow.protos import databricks_pb2, mlflow_artifacts_pb2, model_registry_pb2, service_pb2

    for module in (service_pb2, model_registry_pb2, mlflow_artifacts_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                for endpoint in method.GetOptions().Extensions[databricks_pb2.rpc].endpoints:
                    for prefix in ("/api/2.0", "/ajax-api/2.0", "/api/3.0", "/ajax-api/3.0"):
                        yield service.name, endpoint.method, prefix + endpoint.path


def test_no_route_of_the_registry_passes_and_of_the_others_the_named_ones_only() -> None:
    routes = list(routes_of_mlflow())
    assert len([service for service, _, _ in routes if service == "ModelRegistryService"]) > 80
    passing = {(service, method, path) for service, method, path in routes if may_pass(method, path)}
    assert {service for service, _, _ in passing} == {"MlflowService"}
    assert {(method, path) for _, method, path in passing} == ROUTES - {("GET", "/health")}


@pytest.mark.parametrize(
    ("method", "target", "passes"),
    [
        ("POST", WRITES_A_RUN, True),
        ("GET", "/api/2.0/mlflow/runs/get?run_id=1&x=/api/2.0/mlflow/registered-models/alias", True),
        ("PUT", f"{RUN}/artifacts/report.html", True),
        ("PUT", f"{RUN}/artifacts/plots/a%20b%C3%A9.png", True),
        ("GET", WRITES_A_RUN, False),
        ("DELETE", f"{RUN}/artifacts/report.html", False),
        ("GET", f"{RUN}/artifacts/report.html", False),
        ("PUT", f"{RUN}/report.html", False),
        ("PUT", f"{RUN}/artifacts", False),
        ("PUT", f"{RUN}/artifacts/", False),
        ("PUT", f"{RUN}/artifacts/../../2/x", False),
        ("PUT", f"{RUN}/artifacts/a/%2e%2e/%2e%2e/x", False),
        ("PUT", f"{RUN}/artifacts/a%2f..%2f..%2fx", False),
        ("PUT", f"{RUN}/artifacts/%252e%252e/x", False),
        ("PUT", f"{RUN}/artifacts/a\\..\\x", False),
        ("PUT", f"{RUN}/artifacts/a%00", False),
        ("PUT", f"{RUN}/artifacts/a%0a", False),
        ("POST", "/api/2.0/mlflow/runs/../registered-models/alias", False),
        ("POST", f"{WRITES_A_RUN}/", False),
        ("POST", f"/{WRITES_A_RUN}", False),
        ("POST", f"{WRITES_A_RUN}%2f..%2f..%2fregistered-models%2falias", False),
        ("POST", f"http://mlflow:5000{WRITES_A_RUN}", False),
        ("POST", f"{WRITES_A_RUN}?a\x00", False),
        ("POST", f"{WRITES_A_RUN}?é", False),
        ("POST", "/graphql", False),
        ("GET", "/", False),
        ("OPTIONS", "*", False),
    ],
)
def test_what_is_not_written_exactly_like_a_route_is_refused(method: str, target: str, passes: bool) -> None:
    assert may_pass(method, target) is passes


class MlflowDouble(BaseHTTPRequestHandler):
    """Keeps what it is asked."""

    asked: ClassVar[list[tuple[str, str | None, bytes]]] = []

    def do_POST(self) -> None:
        """Answer with what came."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, self.headers["Content-Type"], body))
        self.send_response(201)
        self.send_header("Content-Type", "text/x-echo")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def proxy() -> Iterator[TrackingProxy]:
    MlflowDouble.asked.clear()
    with (
        HTTPServer(("127.0.0.1", 0), MlflowDouble) as mlflow,
        TrackingProxy(("127.0.0.1", 0), f"http://127.0.0.1:{mlflow.server_port}") as proxy,
    ):
        for server in (mlflow, proxy):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield proxy
        for server in (mlflow, proxy):
            server.shutdown()


def ask(proxy: TrackingProxy, *request: Any, **more: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.server_port, timeout=30)
    connection.request(*request, **more)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_run_is_handed_on_as_it_is_and_the_registry_is_not_asked(proxy: TrackingProxy) -> None:
    body = b"x" * 200_000
    assert ask(proxy, "POST", WRITES_A_RUN, body, {"Content-Type": "application/json"}) == (201, body)
    assert MlflowDouble.asked == [(WRITES_A_RUN, "application/json", body)]
    status, words = ask(proxy, "POST", "/api/2.0/mlflow/registered-models/alias")
    assert (status, b"PERMISSION_DENIED" in words) == (403, True)
    assert len(MlflowDouble.asked) == 1


@pytest.mark.parametrize(
    "headers", ["Content-Length: -1", "Content-Length: 5, 5", "Content-Length: 5\r\nTransfer-Encoding: chunked"]
)
def test_a_body_of_unknown_length_is_refused_and_nothing_hides_behind_it(proxy: TrackingProxy, headers: str) -> None:
    hidden = "POST /api/2.0/mlflow/registered-models/alias HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.server_port)) as connection:
        connection.sendall(f"POST {WRITES_A_RUN} HTTP/1.1\r\n{headers}\r\n\r\n{hidden}".encode())
        assert connection.makefile("rb").readline().split()[1] == b"411"
    assert MlflowDouble.asked == []


def test_a_second_request_of_one_connection_is_never_read(proxy: TrackingProxy) -> None:
    one = f"POST {WRITES_A_RUN} HTTP/1.1\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    with socket.create_connection(("127.0.0.1", proxy.server_port)) as connection:
        connection.sendall(one + one)
        assert connection.makefile("rb").read().count(b"HTTP/1.0") == 1
    assert len(MlflowDouble.asked) == 1


def test_an_mlflow_that_is_away_is_asked_again_by_its_client() -> None:
    with TrackingProxy(("127.0.0.1", 0), "http://127.0.0.1:9") as proxy:
        threading.Thread(target=proxy.handle_request, daemon=True).start()
        status, words = ask(proxy, "GET", "/health")
    assert (status, b"does not answer" in words) == (503, True)
