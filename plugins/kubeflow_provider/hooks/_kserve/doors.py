"""How a prediction reaches an InferenceService, and what counts as an answer of its model."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from kubeflow_provider.access import causes
from kubeflow_provider.exceptions import KubeflowProviderError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.hooks._kserve.api import ClusterApi
from kubeflow_provider.hooks._kserve.modes import Mode, mode_of
from kubeflow_provider.hooks._kserve.record import given_protocol, name_in_paths
from kubeflow_provider.hooks._kserve.settings import DoorKind, KServeSettings
from kubeflow_provider.http.answers import no_answer, wants_login
from kubeflow_provider.http.quiet import quiet_libraries
from kubeflow_provider.http.uncaptured import uncaptured_headers
from kubeflow_provider.open_inference import as_v1_answer, as_v2_request
from kubeflow_provider.services import Answer

Object = dict[str, Any]

_SERVICE = "KServe"
_OPERATION = "ask for a prediction"
_FORBIDDEN = 403
#: Say how an answer comes, and are not true any more of what was read.
_OF_THE_TRANSFER = ("content-encoding", "content-length", "transfer-encoding")
#: By it a server may say which version of its model has answered.
VERSION_HEADER = "X-Model-Version"
_ROUTE_STATUSES = (404, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one version of a model answers.

    :param url: of the service, without the model's path.
    :param host: what the gateway knows it by, where that is not the URL's.
    """

    url: str
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, as it came.

    :param latency_ms: of the request alone: a login may have come before it.
    :param version: what the header :data:`VERSION_HEADER` says, where there is one.
    """

    status: int
    content: bytes
    latency_ms: float
    version: str | None = None


class Doors:
    """Sends predictions by the way that the connection chose.

    :param settings: of the connection.
    :param api: for the way through the API server.
    """

    def __init__(self, settings: KServeSettings, api: ClusterApi) -> None:
        self._settings = settings
        self._api = api

    def public_url(self, model: str, service: Object | None) -> str:
        """Return the address that users call, as far as it is known before the service is there."""
        if self._settings.door is DoorKind.PATH:
            return self._by_path(model).url + _released_path(model, service)
        status = (service or {}).get("status") or {}
        inside = (status.get("address") or {}).get(
            "url"
        ) or f"http://{model}.{self._settings.namespace}.svc.cluster.local"
        url = status.get("url") if self._settings.door is DoorKind.GATEWAY else inside
        return (url or inside).rstrip("/") + _released_path(model, service)

    def predict(self, model: str, service: Object, body: bytes, *, timeout_seconds: float, tag: str = "") -> Answer:
        """Ask a service as a release does, in the protocol that it speaks: what it asks is not captured.

        :param body: as V1 has it; for a given predictor, as its users send it.
        :param tag: of the revision to ask, where it is not the service as users reach it.
        :raises PermissionDeniedError: when a gateway or a mesh did not let the request in.
        :raises ServiceUnavailableError: when there was no answer at all, or the service has no address yet.
        """
        is_given = given_protocol(service) is not None
        body = as_v2_request(body) if _speaks_v2(service) and not is_given else body
        path, headers = _released_path(model, service), uncaptured_headers()
        reply = self.ask(service, path, body, timeout_seconds=timeout_seconds, tag=tag, headers=headers)
        found = _parsed(reply.content)
        return Answer(
            status_code=reply.status,
            body=found if is_given else as_v1_answer(found),
            latency_ms=reply.latency_ms,
            version=reply.version if is_given else None,
        )

    def ask(
        self,
        service: Object,
        path: str,
        body: bytes,
        *,
        timeout_seconds: float,
        tag: str = "",
        most_bytes: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request to a service, and return what came back, whatever its status.

        :param path: of the request, below the service's address.
        :param body: JSON.
        :param tag: of the revision to ask, where it is not the service as users reach it.
        :param most_bytes: of an answer that is longer a few bytes more are read; ``None``: all of it.
        :param headers: besides the usual ones.
        :raises PermissionDeniedError: when a gateway or a mesh did not let the request in.
        :raises ServiceUnavailableError: when there was no answer at all, or the service has no address yet.
        """
        given = {"Content-Type": "application/json", **(headers or {})}
        if self._settings.door is DoorKind.SERVICE_PROXY:
            limits: dict[str, Any] = {"timeout_seconds": timeout_seconds, "most_bytes": most_bytes}
            return self._through_api_server(service, path, body, tag=tag, headers=given, **limits)
        address = self._address(service, tag)
        sent = {**given, "Accept": "application/json", **self._settings.http.headers}
        if address.host:
            sent["Host"] = address.host
        with quiet_libraries(), self._client(timeout_seconds) as client:
            request = client.build_request("POST", f"{address.url}{path}", content=body, headers=sent)
            try:
                stream = client.send(request, stream=True)
                response = _read(stream, most_bytes)
            except httpx.RequestError as error:
                raise self._judge(no_answer(error, service=_SERVICE, request=request), error) from error
            except KubeflowProviderError as error:  # of the login
                raise self._judge(error, error) from error.__cause__
        if wants_login(response) or response.status_code == _FORBIDDEN:
            raise self._judge(self._not_let_in(response, address))
        if not response.is_server_error:  # of which a gateway may know nothing but its own trouble
            self._settings.access.accept(_OPERATION)
        latency_ms = stream.elapsed.total_seconds() * 1000
        version = response.headers.get(VERSION_HEADER)
        return Reply(status=response.status_code, content=response.content, latency_ms=latency_ms, version=version)

    def _judge(self, error: KubeflowProviderError, cause: Exception | None = None) -> KubeflowProviderError:
        """Return an outage where the way to the service is away; the service itself is judged by who asks."""
        if isinstance(error, ServiceUnavailableError):
            # In the cluster a connection is refused by a service without pods; elsewhere, by the gateway.
            is_name_unknown = any(isinstance(one, socket.gaierror) for one in causes(cause))
            is_way_away = is_name_unknown or self._settings.door is not DoorKind.CLUSTER_LOCAL
            if error.was_sent or not is_way_away:
                return error
        return self._settings.access.judge(error, _OPERATION)

    def _client(self, timeout_seconds: float) -> httpx.Client:
        http = self._settings.http
        timeout = httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, http.connect_timeout_seconds))
        return httpx.Client(
            auth=self._settings.auth,
            verify=http.ssl_context(),
            proxy=http.proxy,
            timeout=timeout,
            follow_redirects=False,
        )

    def _address(self, service: Object, tag: str) -> Address:
        status, name = service.get("status") or {}, service["metadata"]["name"]
        inside, outside = (status.get("address") or {}).get("url"), status.get("url")
        if tag:
            # A tag has an address of its own, and no path: path templates are KServe's, tags are Knative's.
            inside = outside = _tag_url(service, tag)
        elif self._settings.door is DoorKind.PATH:
            return self._by_path(name)
        if self._settings.door is DoorKind.CLUSTER_LOCAL and inside:
            return Address(url=inside.rstrip("/"))
        if self._settings.door.needs_host and outside:
            return Address(url=self._settings.http.base_url, host=urlsplit(outside).netloc)
        raise ServiceUnavailableError(f"InferenceService {name} has no address yet.", was_sent=False)

    def _by_path(self, name: str) -> Address:
        path = self._settings.path_template.format(namespace=self._settings.namespace, name=name)
        return Address(url=self._settings.http.base_url + path.rstrip("/"))

    def _through_api_server(
        self, service: Object, path: str, body: bytes, *, tag: str, headers: Mapping[str, str], **limits: Any
    ) -> Reply:
        name = _kubernetes_service(service, tag)
        started = time.perf_counter()
        status, content, answered = self._api.post_through_proxy(name, path, body, headers=headers, **limits)
        latency_ms = (time.perf_counter() - started) * 1000
        if status in (401, _FORBIDDEN):
            raise PermissionDeniedError(
                f"Service {name} does not let predictions of the API server in (HTTP {status}): a mesh may ask who is "
                "there. Let it in, or choose another `door`.",
                http_status=status,
            )
        return Reply(status=status, content=content, latency_ms=latency_ms, version=answered.get(VERSION_HEADER))

    def _not_let_in(self, response: httpx.Response, address: Address) -> PermissionDeniedError:
        what = f"{address.host or address.url} answered {response.status_code} to a prediction"
        if response.is_redirect:
            what += f" with a redirect to {response.headers.get('location', '').partition('?')[0]}"
        hint = getattr(self._settings.auth, "hint", "") or (
            "The gateway asks who is there: set `authentication` of the connection (bearer, kubernetes, dex, cookie). "
            "Where it says `RBAC: access denied`, the namespace needs an AuthorizationPolicy that lets the gateway in."
        )
        return PermissionDeniedError(f"{what}. {hint}", http_status=response.status_code)


def is_route_missing(answer: Answer) -> bool:
    """Tell whether a gateway answered because it does not know the service yet; a model server answers in JSON."""
    return answer.status_code in _ROUTE_STATUSES and not isinstance(answer.body, dict)


def _speaks_v2(service: Object | None) -> bool:
    if protocol := given_protocol(service):
        return protocol == "v2"
    predictor = ((service or {}).get("spec") or {}).get("predictor") or {}
    return bool((predictor.get("model") or {}).get("protocolVersion") == "v2")


def path_of(model: str, service: Object | None, protocol: str | None = None) -> str:
    """Return the path of a model's predictions.

    :param protocol: ``v1`` or ``v2``; ``None``: that of the service.
    """
    is_v2 = protocol == "v2" if protocol else _speaks_v2(service)
    return f"/v2/models/{model}/infer" if is_v2 else f"/v1/models/{model}:predict"


def _released_path(model: str, service: Object | None) -> str:
    """Return the path of a model that is released."""
    return path_of(name_in_paths(service) or model, service)


def _tag_url(service: Object, tag: str) -> str | None:
    part = ((service.get("status") or {}).get("components") or {}).get("predictor") or {}
    return next((item.get("url") for item in part.get("traffic") or [] if item.get("tag") == tag), None)


def _kubernetes_service(service: Object, tag: str) -> str:
    """Return the Service whose endpoints are the pods themselves, with its port."""
    name = service["metadata"]["name"]
    if mode_of(service) is not Mode.KNATIVE:
        named = service["spec"]["predictor"].get("name")  # KServe 0.20 and later
        return f"{name}-{named}-predictor:80" if named else f"{name}-predictor:80"
    part = ((service.get("status") or {}).get("components") or {}).get("predictor") or {}
    tagged = (item.get("revisionName") for item in part.get("traffic") or [] if tag and item.get("tag") == tag)
    revision = next(tagged, None) or part.get("latestReadyRevision")
    if not revision:
        raise ServiceUnavailableError(f"InferenceService {name} has no revision that is ready.", was_sent=False)
    # The others lead to the gateway, which the API server does not ask.
    return f"{revision}-private:80"


def _read(stream: httpx.Response, most_bytes: int | None) -> httpx.Response:
    """Return an answer as far as it may be read."""
    content = bytearray()
    with closing(stream):
        for chunk in stream.iter_bytes():
            content += chunk
            if most_bytes is not None and len(content) > most_bytes:
                break
    headers = [item for item in stream.headers.multi_items() if item[0] not in _OF_THE_TRANSFER]
    return httpx.Response(stream.status_code, headers=headers, content=bytes(content), request=stream.request)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")
