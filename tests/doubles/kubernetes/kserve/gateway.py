"""The ingress gateway: finds the service by host or path, its revision by weight, and a pod that is ready."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Any

from tests.doubles.kubernetes.kserve.world import Route, World
from tests.doubles.kubernetes.loopback import LoopbackHandler, LoopbackServer

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}
_TRIES = 3
#: How long Knative's activator holds a request for a revision that is starting, in seconds of the double's clock.
_ACTIVATOR_SECONDS = 60.0


class Gateway:
    """One HTTP port in front of every InferenceService.

    :ivar answers: how many requests each Deployment answered.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: dict[str, int] = {}
        self._credits: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()
        self._http = LoopbackServer(_Handler, gateway=self)
        self.url = self._http.url

    def start(self) -> None:
        self._http.start("gateway")

    def stop(self) -> None:
        self._http.stop()

    def refuses(self, headers: Any) -> tuple[int, dict[str, str], str] | None:
        """Return the answer to somebody without a valid token or cookie; ``None`` for everybody else.

        A wrong token is a 403; with nothing at all the way leads to the login page.
        """
        settings = self.world.settings
        if not settings.tokens and not settings.cookies:
            return None
        sent = headers.get("Authorization", "")
        if sent.startswith("Bearer "):
            known = sent.removeprefix("Bearer ") in settings.tokens
            return None if known else (403, {}, "Jwt verification fails")
        for part in headers.get("Cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == "oauth2_proxy_kubeflow" and value in settings.cookies:
                return None
        login = "/dex/auth?client_id=kubeflow-oidc-authservice&response_type=code"
        return 302, {"Location": login}, '<a href="/dex/auth">Found</a>.'

    def find(self, host: str, path: str) -> tuple[str, Route | None, str]:
        """Return host, route and the path behind it."""
        world = self.world
        host = host.split(":")[0]
        parts = path.split("/", 4)
        if world.settings.path_template and len(parts) > 3 and parts[1] == "serving":
            host, path = world.host(parts[2], parts[3]), "/" + (parts[4] if len(parts) > 4 else "")
        return host, world.routes.get(host), path

    def choose(self, host: str, route: Route) -> str:
        """Return the Deployment whose turn it is: weights hold exactly over 100 requests, not only on average."""
        with self._lock:
            credits = self._credits.setdefault(host, {})
            for name, percent in route.shares:
                credits[name] = credits.get(name, 0.0) + percent
            chosen = max((name for name, percent in route.shares if percent), key=lambda name: credits[name])
            credits[chosen] -= 100
            for name in credits.keys() - {name for name, _ in route.shares}:
                del credits[name]
            return chosen

    def addresses(self, route: Route, deployment: str) -> list[tuple[str, int]]:
        """Return where the Deployment answers. Knative waits for a revision that is starting."""
        deadline = time.monotonic() + _ACTIVATOR_SECONDS / self.world.clock.speed
        while True:
            found = self.world.addresses(route.namespace, deployment)
            if found or not route.waits or time.monotonic() > deadline or self.world.clock.stopped:
                return found
            time.sleep(0.02)

    def count(self, deployment: str) -> None:
        with self._lock:
            self.answers[deployment] = self.answers.get(deployment, 0) + 1


class _Handler(LoopbackHandler):
    gateway: Gateway

    def do_GET(self) -> None:
        body = self.read_body()
        if refusal := self.gateway.refuses(self.headers):
            self.send(refusal[0], refusal[2], "text/html", refusal[1])
            return
        host, route, path = self.gateway.find(self.headers.get("Host", ""), self.path)
        if route is None:
            self.send(404, b"", "text/plain")
            return
        early = route.known_from - time.monotonic()
        if early > 0:
            # While Envoy programs the route: first no route, then one without an upstream.
            world = self.gateway.world
            half = world.lags.route_seconds / world.clock.speed / 2
            self.send(404 if early > half else 503, b"" if early > half else b"no healthy upstream", "text/plain")
            return
        self._forward(host, route, path, body)

    do_POST = do_PUT = do_DELETE = do_GET

    def _forward(self, host: str, route: Route, path: str, body: bytes) -> None:
        """Send the request to a pod; to another one when a connection to it cannot be made, as Envoy does."""
        deployment = self.gateway.choose(host, route)
        for _ in range(_TRIES):
            for address in self.gateway.addresses(route, deployment)[::-1]:
                connection = http.client.HTTPConnection(*address, timeout=60)
                try:
                    connection.connect()
                except OSError:
                    continue
                try:
                    headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
                    connection.request(self.command, path, body, headers)
                    answer = connection.getresponse()
                    content = answer.read()
                except (OSError, http.client.HTTPException):
                    self.send(503, b"upstream connect error or disconnect/reset before headers", "text/plain")
                    return
                finally:
                    connection.close()
                self.gateway.count(deployment)
                kind = answer.getheader("Content-Type") or "application/octet-stream"
                told = {name: value for name, value in answer.getheaders() if name.lower().startswith("x-")}
                self.send(answer.status, content, kind, told)
                return
        self.send(503, b"no healthy upstream", "text/plain")
