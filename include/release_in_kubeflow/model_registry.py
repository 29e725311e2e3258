"""Asks Kubeflow's Model Registry from inside a pipeline, with nothing but Python's own library.

What is asked stands in :mod:`include.contracts.model_registry`, the same for the Airflow half.
"""

from __future__ import annotations

import json
import os
import time
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from include.contracts.model_registry.calls import Call, Refused, Story, T, tell

#: Variable with a bearer token, where a gateway wants one; a key of the secret that the pipeline's steps get.
TOKEN_VARIABLE = "MODEL_REGISTRY_TOKEN"  # noqa: S105

_PREFIX = "/api/model_registry"
_API_VERSIONS = ("v1", "v1alpha3")
_SECONDS = 60.0
#: A question is asked again after a failure that passes, nothing else is.
_TRIES, _PAUSE_SECONDS = 3, 1.0
_PASSING = frozenset({429, 500, 502, 503, 504})
_LONGEST_MESSAGE = 500


class ModelRegistryError(RuntimeError):
    """The registry cannot be used."""


class _NoRedirects(HTTPRedirectHandler):
    """A redirect leads to a login, which wants no token of ours."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


class ModelRegistryClient:
    """One registry.

    :param url: its address, with or without ``/api/model_registry``.
    :raises ModelRegistryError: when it is none.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ModelRegistryError(
                "registry_uri: the address of Kubeflow's Model Registry is needed, for example "
                "http://model-registry-service.kubeflow.svc.cluster.local:8080. It has no user and no query; a token "
                f"is the key {TOKEN_VARIABLE} of the secret of credentials."
            )
        self.url = url.partition(_PREFIX)[0].rstrip("/")
        self._opener = build_opener(_NoRedirects)
        self._version = ""

    def tell(self, story: Story[T]) -> T:
        """Send the calls of a story and return what it comes to."""
        return tell(story, self._send)

    def _send(self, call: Call) -> Any:
        self._version = self._version or self._find_version()
        return self._ask(call, self._version)

    def _find_version(self) -> str:
        call = Call(
            method="GET", path="/registered_models", params={"pageSize": 1}, refusals=frozenset({404, HTTPStatus.GONE})
        )
        for version in _API_VERSIONS:
            if not isinstance(self._ask(call, version), Refused):
                return version
        raise ModelRegistryError(f"There is no Model Registry at {self.url}: no {_PREFIX}/{_API_VERSIONS[0]} is there.")

    def _ask(self, call: Call, version: str) -> Any:
        tries = _TRIES if call.method == "GET" else 1
        for left in reversed(range(tries)):
            try:
                return self._answer(call, version)
            except HTTPError as error:
                words = _words(error)
                if error.code in call.refusals:
                    return Refused(error.code, words)
                if error.code not in _PASSING or not left:
                    raise ModelRegistryError(self._failed(call, f"answered {error.code}: {words}")) from None
            except (OSError, HTTPException, ValueError) as error:
                if not left:
                    raise ModelRegistryError(self._failed(call, f"did not answer ({type(error).__name__})")) from None
            time.sleep(_PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    def _answer(self, call: Call, version: str) -> Any:
        query = f"?{urlencode(dict(call.params))}" if call.params else ""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if token := os.environ.get(TOKEN_VARIABLE, "").strip():
            headers["Authorization"] = f"Bearer {token}"
        body = None if call.body is None else json.dumps(call.body).encode()
        request = Request(  # noqa: S310  its scheme was looked at
            f"{self.url}{_PREFIX}/{version}{call.path}{query}", data=body, headers=headers, method=call.method
        )
        with self._opener.open(request, timeout=_SECONDS) as response:
            return json.load(response)

    def _failed(self, call: Call, what: str) -> str:
        return f"The Model Registry at {self.url} {what} to {call.method} {call.path}."


def _words(error: HTTPError) -> str:
    """Return the server's own words."""
    text = error.read(_LONGEST_MESSAGE * 4).decode(errors="replace")
    try:
        text = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        text = str(error.reason) if text.lstrip().startswith("<") else text
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return " ".join((text.replace(token, "***") if token else text).split())[:_LONGEST_MESSAGE]
