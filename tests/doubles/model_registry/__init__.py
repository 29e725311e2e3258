"""A Kubeflow Model Registry for tests: the wire form and the oddities of the real one, over HTTP on loopback.

* The API has two versions, ``v1`` and ``v1alpha3``, with the same objects behind them. An older server knows only the
  latter; one whose ``v1alpha3`` has been switched off answers 410 there.
* A PATCH replaces the whole map of custom properties, and one that does not say ``state`` makes an archived thing LIVE.
  There is no compare-and-set: between a read and a write anybody may have written (:meth:`ModelRegistry.between`).
* Looking up by name is a LIKE without regard to case; two hits are a 404.
* A version of a model that does not exist is made, and an artifact without a name gets a made-up one.
* Bodies are strict: a field that the object has, but that cannot be changed, is a 400. Names are used up for ever:
  nothing can be deleted, and a refused duplicate uses up an id.
* ``filterQuery`` takes ``<>`` for ``=``, and ``!=`` finds only what has the property. A wrong ``orderBy`` sorts by id.

It answers as ``tests/captured/model_registry`` shows, a server on MariaDB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.doubles.kfp_server.transport import HttpServer, Request, Response
from tests.doubles.model_registry.api import Api
from tests.doubles.model_registry.store import Store

__all__ = ["ModelRegistry", "model_registry"]

VERSIONS = ("v1", "v1alpha3")


class ModelRegistry(HttpServer):
    """The server under test's hands.

    :ivar url: what a connection's host holds. :ivar store: everything that was made.
    :ivar requests: everything that was asked.
    """

    def __init__(self, *, versions: tuple[str, ...], gone: tuple[str, ...], token: str | None) -> None:
        self.store = Store()
        self._api = Api(self.store, versions=versions, gone=gone)
        self._token = token
        self._between: list[tuple[str, Callable[[], None]]] = []
        super().__init__(self._reply)
        self.url = f"http://127.0.0.1:{self.port}"

    def switch(self, *versions: str, gone: tuple[str, ...] = ()) -> None:
        """Let the server be another release from now on.

        :param versions: of the API that it has. :param gone: those that it has had.
        """
        self._api = Api(self.store, versions=versions, gone=gone)

    def between(self, path: str, write: Callable[[], None], *, times: int = 1) -> None:
        """Let somebody else write right after the next PATCHes of a path, before their writer can look.

        :param path: part of it.
        """
        self._between += [(path, write)] * times

    def calls(self, method: str, path: str = "") -> int:
        """Return how many requests there were of this method with this in their path."""
        return sum(request.method == method and path in request.path for request in self.requests)

    def properties(self, kind: str, name: str) -> dict[str, Any]:
        """Return the custom properties of a thing, name -> value, as the server would show them."""
        found = next(row for row in self.store.rows.values() if (row.kind, row.fields["name"]) == (kind, name))
        return {
            key: next(entry for field, entry in value.items() if field != "metadataType")
            for key, value in found.properties.items()
        }

    def _reply(self, request: Request) -> Response:
        if self._token and request.headers.get("authorization") != f"Bearer {self._token}":
            return Response(body="Jwt is missing", status=401, content_type="text/plain")
        response = self._api.answer(request)
        if request.method == "PATCH":
            due = next((entry for entry in self._between if entry[0] in request.path), None)
            if due is not None:
                self._between.remove(due)
                due[1]()
        return response


@contextmanager
def model_registry(
    *, versions: tuple[str, ...] = VERSIONS, gone: tuple[str, ...] = (), token: str | None = None
) -> Iterator[ModelRegistry]:
    """Run a server for the length of a block.

    :param versions: of the API that it has. :param gone: versions that it has had.
    :param token: bearer token that the gateway before it wants; the server itself wants none.
    """
    server = ModelRegistry(versions=versions, gone=gone, token=token)
    try:
        yield server
    finally:
        server.close()
    assert not server.errors, server.errors
