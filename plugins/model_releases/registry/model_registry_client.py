"""Kubeflow Model Registry's REST API, in the version that the server has."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from include.contracts.model_registry.calls import Call, Pause, Refused, Story, T, tell
from kubeflow_provider.access import Access, access_for
from kubeflow_provider.connection_fields import ConnectionFields
from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.http.authentication import authentication_for
from kubeflow_provider.http.client import HttpClient
from kubeflow_provider.http.settings import HttpSettings

SERVICE = "Kubeflow Model Registry"
PREFIX = "/api/model_registry"
#: The newest first: servers up to 0.3.14 have only the latter, and one day only the former is left.
API_VERSIONS = ("v1", "v1alpha3")

_NOT_FOUND, _GONE = 404, 410
_NO_SUCH_VERSION = frozenset({_NOT_FOUND, _GONE})
#: How every 404 of the registry itself ends; another one comes from who does not know the path.
_OWN_WORDS = ": not found"
_PROBE = {"pageSize": 1}

#: Connection, as it is now -> version of the API that its server has.
_versions: dict[str, str] = {}
#: A process uses a handful of connections; changed ones leave their old entries behind.
_KEEP = 64


class ModelRegistryClient:
    """Sends the calls of stories, from tasks and from event loops.

    :param fields: of the connection; what is wrong with them is collected there.
    """

    def __init__(self, fields: ConnectionFields) -> None:
        http = HttpSettings.read(fields)
        self.url = http.base_url.partition(PREFIX)[0].rstrip("/")
        #: What this process knows of the connection's credentials.
        self.access: Access = access_for(fields)
        auth = authentication_for(fields, http)
        self._http = HttpClient(replace(http, base_url=self.url), auth, service=SERVICE, access=self.access)
        self._key = fields.digest()

    def tell(self, story: Story[T]) -> T:
        """Send the calls of a story one after the other and return what it comes to."""
        return tell(story, self.send)

    async def atell(self, story: Story[T]) -> T:
        """Like :meth:`tell`, without blocking the event loop, over connections that are kept meanwhile."""
        async with self._http.kept_open() as http:
            answer: Any = None
            while True:
                try:
                    asked = story.send(answer)
                except StopIteration as end:
                    found: T = end.value
                    return found
                answer = await self._asend(http, asked) if isinstance(asked, Call) else None
                if isinstance(asked, Pause):
                    await asyncio.sleep(asked.seconds)

    def send(self, call: Call) -> Any:
        """Return the answer of a call, a document or one of the refusals that the call names."""
        for is_again in (False, True):
            version = _versions.get(self._key) or self.find_version()
            try:
                return self._http.request(call.method, f"{PREFIX}/{version}{call.path}", **_content(call))
            except InvalidRequestError as error:
                if (refused := self._refused(call, error, is_again=is_again)) is not None:
                    return refused
        raise AssertionError("the second try returns or raises")

    async def _asend(self, http: HttpClient, call: Call) -> Any:
        for is_again in (False, True):
            version = _versions.get(self._key) or await self._afind_version(http)
            try:
                return await http.arequest(call.method, f"{PREFIX}/{version}{call.path}", **_content(call))
            except InvalidRequestError as error:
                if (refused := self._refused(call, error, is_again=is_again)) is not None:
                    return refused
        raise AssertionError("the second try returns or raises")

    def find_version(self) -> str:
        """Ask which version of the API the server has, and keep the answer.

        :raises InvalidRequestError: when it has none that is known.
        """
        for version in API_VERSIONS:
            try:
                self._http.request("GET", f"{PREFIX}/{version}/registered_models", params=_PROBE)
            except InvalidRequestError as error:
                if error.http_status not in _NO_SUCH_VERSION:
                    raise
            else:
                return self._keep(version)
        raise self._without_version()

    async def _afind_version(self, http: HttpClient) -> str:
        for version in API_VERSIONS:
            try:
                await http.arequest("GET", f"{PREFIX}/{version}/registered_models", params=_PROBE)
            except InvalidRequestError as error:
                if error.http_status not in _NO_SUCH_VERSION:
                    raise
            else:
                return self._keep(version)
        raise self._without_version()

    def _refused(self, call: Call, error: InvalidRequestError, *, is_again: bool) -> Refused | None:
        """Return the refusal that an error is; ``None``: the server has another version now, ask again.

        :raises InvalidRequestError: when it is neither.
        """
        is_other_server = error.http_status == _GONE or (
            error.http_status == _NOT_FOUND and _OWN_WORDS not in str(error).lower()
        )
        if is_other_server and not is_again:
            _versions.pop(self._key, None)
            return None
        if error.http_status in call.refusals:
            return Refused(int(error.http_status or 0), str(error))
        raise error

    def _keep(self, version: str) -> str:
        while len(_versions) >= _KEEP:
            _versions.pop(next(iter(_versions)), None)
        _versions[self._key] = version
        return version

    def _without_version(self) -> InvalidRequestError:
        return InvalidRequestError(
            f"{SERVICE} is not at {self.url}: there is no {PREFIX} of version {' or '.join(API_VERSIONS)}. Give its "
            "address as host, for example http://model-registry-service.kubeflow.svc.cluster.local:8080."
        )


def _content(call: Call) -> dict[str, Any]:
    return {"params": call.params, "json": None if call.body is None else dict(call.body)}
