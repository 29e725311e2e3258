"""The one address of all models: hands each request to the process of the version that is live.

It reads the record of what is live before each request, if it has changed. So whoever writes the record has switched
the traffic once it is written, and nobody has to tell the router. A request that finds a version's process gone
because another one went live meanwhile is handed to that one.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from .exchange import Receive, RefusedError, Scope, Send, answer, header, read_body, refuse, run_lifespan
from .layout import MOST_BODY_BYTES, NO_SERVER, ROUTER_HEADER, UNKNOWN, VERSION_HEADER, server_folder, socket_of
from .listening import listen, private_socket, write_log

log = logging.getLogger(__name__)

_ADDRESS = re.compile(
    r"(?:/versions/(?P<version>[0-9]{14}))?"
    r"(?P<path>/v[12]/models/(?P<model>[a-z0-9-]{1,48})(?::predict|/infer|/ready)?)"
)
#: Headers of a request that a version's process is given, and of its answer that the user is given.
_REQUEST_HEADERS = (b"content-type", b"x-request-id")
_ANSWER_HEADERS = ("content-type", "allow", "retry-after", VERSION_HEADER.lower(), "x-request-id")
#: Longer than any user waits: who asks decides.
_ANSWER_SECONDS = 600.0
_MOST_CONNECTIONS = 500
_LARGEST_RECORD_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Routes:
    """Where requests go.

    :param live: model -> version.
    :param sockets: model and version -> socket of its process.
    """

    live: Mapping[str, str] = field(default_factory=dict)
    sockets: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def socket_of(self, model: str, version: str | None) -> str | None:
        """Return where a request goes; ``None`` for nowhere."""
        version = version or self.live.get(model)
        return self.sockets.get((model, version)) if version else None


class RecordFile:
    """The record of what is live, read again whenever it is another file.

    :param path: of ``live.json``, which is replaced as a whole.
    :param run_dir: folder of the versions' sockets.
    """

    def __init__(self, path: Path, run_dir: Path) -> None:
        self._path = path
        self._run_dir = run_dir
        self._read: tuple[int, int, int] | None = None
        self._routes = Routes()

    def routes(self) -> Routes:
        """Return what the record says; where it cannot be read, what it said last."""
        try:
            found = self._path.stat()
            signature = (found.st_ino, found.st_mtime_ns, found.st_size)
            if signature != self._read:
                self._read = signature
                self._routes = self._parsed()
        except FileNotFoundError:
            self._read = None  # nothing is deployed, or somebody is just making it anew
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.error("%s cannot be read (%s); requests go where they went.", self._path, type(error).__name__)
        return self._routes

    def _parsed(self) -> Routes:
        with self._path.open("rb") as file:
            models: dict[str, Any] = json.loads(file.read(_LARGEST_RECORD_BYTES))["models"]
        live = {name: str(model["live"]) for name, model in models.items() if model["live"]}
        sockets = {
            (name, version): str(socket_of(self._folder(name, version, stored)))
            for name, model in models.items()
            for version, stored in model["versions"].items()
        }
        # A record that was lost and made anew does not know what was live. Until somebody says so, it still is.
        for name, model in models.items():
            version = self._routes.live.get(name)
            if version and model.get("is_live_known") is False:
                live[name] = version
                sockets[name, version] = self._routes.sockets[name, version]
        return Routes(live, sockets)

    def _folder(self, model: str, version: str, stored: Mapping[str, Any]) -> Path:
        predictor = stored.get("settings", {}).get("predictor", {})
        return server_folder(self._run_dir, model, version, stored["sha256"], predictor)


class Captures(Protocol):
    """What captures users' requests."""

    def take(self, model: str, scope: Scope, request: bytes, answer: bytes, version: str | None, began: float) -> str:
        """Take a request that was answered; return the id by which its client is told of it. Never raises.

        :param version: that has answered, if that is known.
        :param began: when it was handed on, by the monotonic clock.
        """

    def close(self) -> None:
        """Write what waits."""


class Router:
    """The ASGI application of the address.

    :param record: what is live.
    :param captures: takes requests of users with their answers; none where the versions' own servers do.
    """

    def __init__(self, record: RecordFile, captures: Captures | None = None) -> None:
        self._record = record
        self._captures = captures
        self._transports: dict[str, httpx.AsyncHTTPTransport] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except RefusedError as error:
            await refuse(send, error)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in ("/v2/health/live", "/v2/health/ready"):
            body = json.dumps({path.rpartition("/")[2]: True}).encode()
            await answer(send, 200, body, [("content-type", "application/json")])
            return
        address = _ADDRESS.fullmatch(path)
        if address is None or scope["method"] not in ("GET", "POST"):
            raise RefusedError(404, "There is nothing at this address.")
        body = await read_body(scope, receive, MOST_BODY_BYTES)
        began = time.monotonic()
        found = await self._forward(scope, address, body)
        headers = [(name, found.headers[name]) for name in _ANSWER_HEADERS if name in found.headers]
        # A version that is named is asked by a release, and not by users.
        if self._captures and found.status_code == 200 and scope["method"] == "POST" and not address["version"]:
            request_id = self._captures.take(
                address["model"], scope, body, found.content, found.headers.get(VERSION_HEADER), began
            )
            headers = [*(each for each in headers if each[0] != "x-request-id"), ("x-request-id", request_id)]
        await answer(send, found.status_code, found.content, headers)

    async def _forward(self, scope: Scope, address: re.Match[str], body: bytes) -> httpx.Response:
        tried: set[str] = set()
        while True:
            target = self._record.routes().socket_of(address["model"], address["version"])
            if target is None:
                raise RefusedError(404, "No such model or version is served here.", **_because(UNKNOWN))
            if target in tried:
                raise RefusedError(
                    503, "The version's process does not answer; it is being started.", retry_after="1",
                    **_because(NO_SERVER),
                )  # fmt: skip
            tried.add(target)
            try:
                return await self._ask(target, scope, address, body)
            except httpx.TimeoutException:
                raise RefusedError(504, "The model took too long.") from None
            except httpx.TransportError as error:
                # Its process is gone. If another version is live by now, that one is asked: a prediction changes
                # nothing, so it can be asked for twice.
                log.info("%s did not answer: %s", target, type(error).__name__)

    async def _ask(self, target: str, scope: Scope, address: re.Match[str], body: bytes) -> httpx.Response:
        capture = "off" if address["version"] else header(scope, b"x-capture")
        headers = [(name, header(scope, name).encode("latin-1")) for name in _REQUEST_HEADERS if header(scope, name)]
        request = httpx.Request(
            scope["method"],
            f"http://model{address['path']}",
            headers=[*headers, (b"x-capture", capture.encode("latin-1"))] if capture else headers,
            content=body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), _ANSWER_SECONDS)},
        )
        response = await self._transport(target).handle_async_request(request)
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response

    def _transport(self, target: str) -> httpx.AsyncHTTPTransport:
        if target not in self._transports:
            if len(self._transports) > 100:  # of versions that went
                self._transports.clear()
            # A connection for each request: a kept one could break while its process ends.
            limits = httpx.Limits(max_keepalive_connections=0, max_connections=None)
            self._transports[target] = httpx.AsyncHTTPTransport(uds=target, limits=limits, verify=False)
        return self._transports[target]


def _because(reason: str) -> dict[str, str]:
    return {ROUTER_HEADER.replace("-", "_"): reason}


def _captures(record: Path, code: str) -> Captures | None:
    """Return what captures requests as the record says.

    :param code: folder to import it from, behind everything else: it is no part of this environment.
    """
    sys.path.append(code)
    try:
        found: Captures = importlib.import_module("include.capture.routed").RoutedCapture(record)
    except Exception as error:
        log.error("Requests are not captured: %s", type(error).__name__)
        return None
    return found


def main() -> None:
    """Route what arrives at the address that the document says that the first argument names."""
    folder = Path(sys.argv[1])
    document = json.loads((folder / "router.json").read_text(encoding="utf-8"))
    write_log(Path(document["log"]))
    public = socket.socket()
    public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections have it from here: without it an answer's body waits 40 ms for the client to acknowledge its head.
    public.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    public.bind((document["host"], document["port"]))
    public.listen(512)
    record = Path(document["record"])
    captures = _captures(record, document["code"]) if document.get("code") else None
    app = Router(RecordFile(record, folder.parent), captures)
    # Whoever started it asks at the second one, which nobody else can take its place at.
    listen(app, [public, private_socket(socket_of(folder))], drain_seconds=0, most_connections=_MOST_CONNECTIONS)
    if captures:
        captures.close()
