"""JSON over HTTP with one service, for tasks and for triggers alike.

Every call opens its own connections and closes them: an async client belongs to one event loop and hooks have no
moment at which they are closed, so nothing is kept that could be left open; who asks several times in a row keeps
them for that long (:meth:`HttpClient.kept_open`). What is worth keeping is kept elsewhere for the whole process: the
TLS context (:meth:`HttpSettings.ssl_context`) and the login
(:func:`kubeflow_provider.http.authentication.authentication_for`).
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from copy import copy
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
from airflow.sdk import Connection
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from kubeflow_provider.access import Access, access_for
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import KubeflowProviderError, ServiceUnavailableError
from kubeflow_provider.http.answers import Expect, address, no_answer, read_answer
from kubeflow_provider.http.authentication import authentication_for
from kubeflow_provider.http.quiet import quiet_libraries
from kubeflow_provider.http.settings import HttpSettings

__all__ = ["HttpClient", "HttpSettings", "Patience"]

log = logging.getLogger(__name__)

_HEADERS = {
    # An oauth2-proxy answers whoever accepts JSON with 401 instead of a sign-in page.
    "Accept": "application/json",
    "User-Agent": "airflow-provider-kubeflow",
}
#: A GET is asked again after these; a 500 is what Kubeflow Pipelines answers to many a wrong request.
_PASSING_STATUSES = frozenset({429, 502, 503, 504})
_BROKEN_CONNECTION = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError, httpx.ConnectTimeout)
#: httpx counts every request of a login as a redirect.
_MOST_REQUESTS_PER_CALL = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how fast a GET is tried again after a passing failure.

    :param attempts: how often it is tried in all.
    :param first_pause_seconds: pause after the first failure; each later one is twice as long, with jitter.
    :param longest_pause_seconds: no pause is longer, whatever the service asks for with ``Retry-After``.
    """

    attempts: int = 4
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 20.0

    def pause(self, state: RetryCallState) -> float:
        """Return the seconds to wait before the next attempt."""
        error = state.outcome.exception() if state.outcome else None
        asked_for = error.retry_after_seconds if isinstance(error, ServiceUnavailableError) else None
        doubled = self.first_pause_seconds * 2 ** (state.attempt_number - 1)
        pause = doubled * random.uniform(0.5, 1.5) if asked_for is None else asked_for  # noqa: S311
        return min(pause, self.longest_pause_seconds)


class HttpClient:
    """Asks one service; every failure is one of this provider's errors.

    Redirects are never followed: an API has none, so one leads to a login. A GET is tried again a few times after
    a passing failure, nothing else is: a POST that may have arrived must not be repeated blindly
    (:attr:`ServiceUnavailableError.was_sent` tells).

    :param settings: how to reach the service.
    :param auth: proves who is asking; ``None`` where nobody asks for that.
    :param service: its name in messages, for example ``Kubeflow Pipelines``.
    :param patience: with passing failures of a GET.
    :param access: what is known of these credentials, which tells an outage from a refusal; a client without it knows
        nothing, and takes every refusal for one.
    :param health_path: page that needs no login; without it nobody is asked how the service is.
    """

    def __init__(
        self,
        settings: HttpSettings,
        auth: httpx.Auth | None = None,
        *,
        service: str,
        patience: Patience = Patience(),
        access: Access | None = None,
        health_path: str = "",
    ) -> None:
        self.settings = settings
        self.service = service
        self._auth = auth
        self._patience = patience
        self._access = access
        self._health_path = health_path
        self._kept: httpx.AsyncClient | None = None

    @classmethod
    def from_connection(cls, connection: Connection, *, service: str) -> HttpClient:
        """Read the connection's fields.

        :raises InvalidRequestError: naming every field that is missing or wrong.
        """
        fields = ConnectionFields(connection)
        settings = HttpSettings.read(fields)
        access = access_for(fields)
        auth = authentication_for(fields, settings)
        return cls(settings, auth, service=service, access=access)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        files: Any = None,
        expect: Expect = "json",
        is_open: bool = False,
    ) -> Any:
        """Ask, and return the answer.

        :param path: below the settings' base URL, with a slash first; ids in it are quoted by the caller.
        :param params: query; ``None`` values are left out.
        :param json: body.
        :param files: body as a form with files, in the form that httpx takes.
        :param expect: ``json`` returns parsed JSON, ``text`` the text itself.
        :param is_open: whether everybody may ask for it, so that the answer says nothing about the credentials.
        :raises OutageError: for 401, 403 and a login page where the credentials were accepted before, for no answer
            at all, and where gateways or Kubeflow itself find nobody to ask.
        :raises InvalidRequestError: for a request that the service finds wrong (400, 404, 405, 409, 413, 422 ...).
        :raises PermissionDeniedError: for 401, 403, a redirect, and a page for people (a login page).
        :raises ServiceUnavailableError: for 408, 429, 5xx, no answer, and an answer that is not JSON.
        """
        arguments = {"params": _present(params), "json": json, "files": files}
        retrying = Retrying(**self._retrying(method))
        return retrying(self._ask, method, path, arguments, expect, is_open)

    async def arequest(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        files: Any = None,
        expect: Expect = "json",
        is_open: bool = False,
    ) -> Any:
        """Like :meth:`request`, without blocking the event loop."""
        arguments = {"params": _present(params), "json": json, "files": files}
        retrying = AsyncRetrying(**self._retrying(method))
        return await retrying(self._aask, method, path, arguments, expect, is_open)

    @asynccontextmanager
    async def kept_open(self) -> AsyncIterator[HttpClient]:
        """Yield a client whose :meth:`arequest` keeps its connections for the length of the block."""
        async with httpx.AsyncClient(**self._options()) as client:
            kept = copy(self)
            kept._kept = client
            yield kept

    def _ask(self, method: str, path: str, arguments: dict[str, Any], expect: Expect, is_open: bool) -> Any:
        operation = f"{method} {path}"
        try:
            answer = self._send(method, path, arguments, expect)
        except KubeflowProviderError as error:
            if self._access is None:
                raise
            if self._health_path and self._access.wants_health(error, operation):
                self._access.note_health(is_well=self._is_well())
            raise self._access.judge(error, operation) from error.__cause__
        if self._access and not is_open:
            self._access.accept(operation)
        return answer

    async def _aask(self, method: str, path: str, arguments: dict[str, Any], expect: Expect, is_open: bool) -> Any:
        operation = f"{method} {path}"
        try:
            answer = await self._asend(method, path, arguments, expect)
        except KubeflowProviderError as error:
            if self._access is None:
                raise
            if self._health_path and self._access.wants_health(error, operation):
                self._access.note_health(is_well=await self._ais_well())
            raise self._access.judge(error, operation) from error.__cause__
        if self._access and not is_open:
            self._access.accept(operation)
        return answer

    def _send(self, method: str, path: str, arguments: dict[str, Any], expect: Expect) -> Any:
        with quiet_libraries(), httpx.Client(**self._options()) as client:
            request = client.build_request(method, path, **arguments)
            try:
                response = client.send(request, auth=self._auth)
            except (httpx.RequestError, OSError) as error:
                raise no_answer(error, service=self.service, request=request) from error
        return self._read(response, expect)

    async def _asend(self, method: str, path: str, arguments: dict[str, Any], expect: Expect) -> Any:
        with quiet_libraries():
            async with self._opened() as client:
                request = client.build_request(method, path, **arguments)
                try:
                    response = await client.send(request, auth=self._auth)
                except (httpx.RequestError, OSError) as error:
                    raise no_answer(error, service=self.service, request=request) from error
        return self._read(response, expect)

    def _is_well(self) -> bool:
        """Ask the health page, without a login."""
        try:
            self._for_health().request("GET", self._health_path)
        except KubeflowProviderError:
            return False
        return True

    async def _ais_well(self) -> bool:
        """Like :meth:`_is_well`, without blocking the event loop."""
        try:
            await self._for_health().arequest("GET", self._health_path)
        except KubeflowProviderError:
            return False
        return True

    def _for_health(self) -> HttpClient:
        return HttpClient(self.settings, service=self.service, patience=Patience(attempts=1))

    def _opened(self) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return nullcontext(self._kept) if self._kept else httpx.AsyncClient(**self._options())

    def _read(self, response: httpx.Response, expect: Expect) -> Any:
        request, seconds = response.request, response.elapsed.total_seconds()
        log.debug("%s %s answered %s in %.2f s", request.method, address(request), response.status_code, seconds)
        hint = getattr(self._auth, "hint", "Choose with the connection's field `authentication` how to log in.")
        return read_answer(response, service=self.service, expect=expect, hint=hint)

    def _options(self) -> dict[str, Any]:
        return {
            "base_url": self.settings.base_url,
            "headers": {**_HEADERS, **self.settings.headers},
            "verify": self.settings.ssl_context(),
            "proxy": self.settings.proxy,
            "timeout": self.settings.timeout,
            # Cookies are the business of the authentication, which keeps them for the whole process.
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            "max_redirects": _MOST_REQUESTS_PER_CALL,
        }

    def _retrying(self, method: str) -> dict[str, Any]:
        return {
            "retry": retry_if_exception(_is_passing),
            "stop": stop_after_attempt(self._patience.attempts if method == "GET" else 1),
            "wait": self._patience.pause,
            "before_sleep": _announce,
            "reraise": True,
        }


def _present(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, ServiceUnavailableError) and (
        error.http_status in _PASSING_STATUSES or isinstance(error.__cause__, _BROKEN_CONNECTION)
    )


def _announce(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0
    log.info("Trying again in %.1f s, attempt %s failed: %s", pause, state.attempt_number, error)
