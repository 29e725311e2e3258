"""The HTTP side of the API server: connections, streams, faults, and the subresources that are no objects."""

from __future__ import annotations

import http.client
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.doubles.kubernetes.api import Api
from tests.doubles.kubernetes.clock import Clock
from tests.doubles.kubernetes.discovery import describe, discover
from tests.doubles.kubernetes.errors import ApiError, bad_request, no_such_resource, unauthorized
from tests.doubles.kubernetes.faults import Faults
from tests.doubles.kubernetes.kubelet import Kubelet
from tests.doubles.kubernetes.loopback import LoopbackHandler, LoopbackServer
from tests.doubles.kubernetes.requests import Request, Target, find_target
from tests.doubles.kubernetes.resources import DEFINITIONS, PODS, SERVICE_ACCOUNTS, SERVICES
from tests.doubles.kubernetes.selectors import selector
from tests.doubles.kubernetes.store import Store
from tests.doubles.kubernetes.watching import Watches

#: Returns where a service (``name`` or ``name:port``) of a namespace answers, or ``None`` when nobody does.
Endpoints = Callable[[str, str], "tuple[str, int] | None"]

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "host", "content-length", "authorization"}


class ApiServer:
    """Serves the store over HTTP on a free port of loopback.

    :param token: bearer token that clients must send; empty lets everybody in.
    """

    def __init__(self, *, store: Store, clock: Clock, faults: Faults, kubelet: Kubelet, token: str = "") -> None:
        self.store = store
        self.clock = clock
        self.faults = faults
        self.kubelet = kubelet
        self.token = token
        self.api = Api(store)
        self.watches = Watches(store, clock)
        self.endpoints: Endpoints = lambda namespace, service: None
        self.requests: list[Request] = []
        self.tokens: list[str] = []
        self.is_down = False
        self._http = LoopbackServer(_Handler, server_of=self)
        self.url = self._http.url

    def start(self) -> None:
        self._http.start("API server")

    def stop(self) -> None:
        self._http.stop()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections, and close those that are open, for as long as the block lasts."""
        self.is_down = True
        self._http.stop()
        try:
            yield
        finally:
            self.is_down = False
            self._http = LoopbackServer(_Handler, port=self._http.address[1], server_of=self)
            self.start()

    def allows(self, request: Request) -> bool:
        known = [f"Bearer {token}" for token in (self.token, *self.tokens)]
        return not self.token or request.headers.get("authorization") in known


class _Handler(LoopbackHandler):
    server_of: ApiServer

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    # The way of a request

    def _handle(self) -> None:
        server = self.server_of
        url = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(url.path),
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.read_body(),
        )
        server.requests.append(request)
        fault = server.faults.of_request(request.method, request.path)
        try:
            if server.is_down or (fault and fault.status == 0):
                self._hang_up()
            elif fault and fault.status > 0:
                self.send(fault.status, fault.body or _status_text(fault.status), fault.content_type)
            else:
                self._answer(request, lost=fault is not None)
        except ApiError as error:
            self.send(error.code, error.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, request: Request, *, lost: bool) -> None:
        """Carry a request out.

        :param lost: whether the answer gets lost on its way.
        """
        server = self.server_of
        if not server.allows(request):
            raise unauthorized()
        path = request.path.rstrip("/")
        if path in ("/healthz", "/readyz", "/livez"):
            self.send(200, "ok", "text/plain")
            return
        if document := discover(path, server.store.resources):
            self.send(200, document)
            return
        if path.startswith("/openapi/v3/apis/"):
            if not (described := describe(path, server.store.entries(DEFINITIONS))):
                raise no_such_resource()
            self.send(200, described)
            return
        if path == _REVIEWS and request.method == "POST":
            self._review(request)
            return
        target = find_target(path, server.store.resources)
        verb = _verb(request, target)
        server.faults.check_permission(
            verb, "/".join([target.resource.plural, *target.rest[:1]]), target.resource.group, target.namespace
        )
        if verb == "watch":
            matches = _selected(request, target)
            self._stream(server.watches.stream(request, target, matches), "application/json")
        elif target.subresource in ("log", "proxy", "token"):
            getattr(self, f"_{target.subresource}")(request, target)
        else:
            code, entry = (server.api.single if target.name else server.api.collection)(request, target)
            if lost:
                self._hang_up()
            else:
                self.send(code, entry)

    # What is no object

    def _review(self, request: Request) -> None:
        """Say whether the caller may do something, which everybody may ask for themselves."""
        document = request.content() or {}
        asked = document["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        allowed = self.server_of.faults.permits(asked["verb"], resource, asked.get("group", ""))
        self.send(201, document | {"status": {"allowed": allowed}})

    def _log(self, request: Request, target: Target) -> None:
        server = self.server_of
        pod = server.store.get(PODS, target.namespace, target.name)
        names = [entry["name"] for key in ("containers", "initContainers") for entry in pod["spec"].get(key) or []]
        name = request.query.get("container") or names[0]
        if not request.query.get("container") and len(pod["spec"]["containers"]) > 1:
            listed = " ".join(names)
            raise bad_request(f"a container name must be specified for pod {target.name}, choose one of: [{listed}]")
        if name not in names:
            raise bad_request(f"container {name} is not valid for pod {target.name}")
        run = server.kubelet.run_of(pod)
        container = run.find_container(name) if run else None
        log = container.log if container and container.has_run else None
        if request.flag("previous"):
            log = container.previous_log if container else None
            if log is None:
                raise bad_request(f'previous terminated container "{name}" in pod "{target.name}" not found')
        if log is None:
            waiting = container.state.get("waiting", {}).get("reason") if container else "ContainerCreating"
            raise bad_request(f'container "{name}" in pod "{target.name}" is waiting to start: {waiting}')
        lines = log.read(
            clock=server.clock,
            follow=request.flag("follow"),
            since=_since(request),
            tail_lines=request.number("tailLines"),
            timestamps=request.flag("timestamps"),
        )
        self._stream(lines, "text/plain")

    def _token(self, request: Request, target: Target) -> None:
        if target.resource != SERVICE_ACCOUNTS or request.method != "POST":
            raise no_such_resource()
        server = self.server_of
        server.store.get(SERVICE_ACCOUNTS, target.namespace, target.name)
        asked = (request.content() or {}).get("spec") or {}
        seconds = asked.get("expirationSeconds") or 3600
        if seconds < 600:
            message = 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: '
            raise ApiError(422, "Invalid", f"{message}{seconds}: may not specify a duration less than 10 minutes")
        token = f"token-{target.namespace}-{target.name}-{len(server.tokens) + 1}"
        server.tokens.append(token)
        expires = datetime.now(UTC) + timedelta(seconds=seconds)
        answer = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "spec": {"audiences": asked.get("audiences") or ["https://kubernetes.default"], **asked},
            "status": {"token": token, "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ")},
        }
        self.send(201, answer)

    def _proxy(self, request: Request, target: Target) -> None:
        """Pass a request on to a service, without the caller's credentials."""
        if target.resource not in (SERVICES, PODS):
            raise no_such_resource()
        scheme, _, rest = target.name.partition(":") if target.name.startswith(("http:", "https:")) else ("", "", "")
        service = rest if scheme else target.name
        name = service.split(":")[0]
        self.server_of.store.get(target.resource, target.namespace, name)
        address = self.server_of.endpoints(target.namespace, service)
        if address is None:
            raise ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
        query = urlsplit(self.path).query
        path = "/" + "/".join(target.rest[1:]) + (f"?{query}" if query else "")
        self.forward(address, request, path)

    def forward(self, address: tuple[str, int], request: Request, path: str) -> None:
        """Send the request to an address and its answer back."""
        connection = http.client.HTTPConnection(*address, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        try:
            connection.request(request.method, path, request.body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            message = f"error trying to reach service: dial tcp {address[0]}:{address[1]}: {error}"
            raise ApiError(503, "ServiceUnavailable", message) from error
        finally:
            connection.close()
        kind = answer.getheader("Content-Type") or "application/octet-stream"
        told = {name: value for name, value in answer.getheaders() if name.lower().startswith("x-")}
        self.send(answer.status, content, kind, told)

    # Writing answers

    def _stream(self, lines: Iterable[str], content_type: str) -> None:
        """Send lines as they come, until they end or the client goes away."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            if line:
                data = line.encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            elif self._client_is_gone():
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def _client_is_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _verb(request: Request, target: Target) -> str:
    if request.method == "GET":
        if target.name:
            return "get"
        return "watch" if request.flag("watch") else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]


def _selected(request: Request, target: Target) -> Any:
    labels, fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
    return selector(target.resource, labels=labels, fields=fields)


def _since(request: Request) -> datetime | None:
    if (seconds := request.number("sinceSeconds")) is not None:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    if moment := request.query.get("sinceTime"):
        return datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return None


def _status_text(status: int) -> str:
    return http.client.responses.get(status, "")
