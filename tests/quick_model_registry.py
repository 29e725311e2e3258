"""Kubeflow's Model Registry without a server: the double's tables, asked in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from include.contracts.model_registry.calls import Call, Refused
from kubeflow_provider.exceptions import InvalidRequestError
from tests.doubles.kfp_server.transport import Request
from tests.doubles.model_registry.api import Api
from tests.doubles.model_registry.store import Row, Store


class QuickModelRegistry:
    """The registry of one server; :meth:`send` takes the place of the client's.

    :param changing: called before and after each change, with its name.
    """

    def __init__(self, changing: Callable[[str], None] = lambda change: None) -> None:
        self._changing = changing
        self._store = Store()
        self._api = Api(self._store, versions=("v1",), gone=())

    def send(self, call: Call) -> Any:
        """Answer a call."""
        what = f"{call.method} {call.path}"
        is_change = call.method != "GET"
        if is_change:
            self._changing(what)
        request = Request(
            method=call.method,
            path=f"/api/model_registry/v1{call.path}",
            query={name: str(value) for name, value in (call.params or {}).items()},
            headers={},
            body=b"" if call.body is None else json.dumps(call.body).encode(),
        )
        response = self._api.answer(request)
        if response.status >= 400:
            if response.status in call.refusals:
                return Refused(response.status, response.body["message"])
            raise InvalidRequestError(f"{what}: {response.body}", http_status=response.status)
        if is_change:
            self._changing(f"answer to {what}")
        return deepcopy(response.body)

    def save(self) -> tuple[dict[tuple[str, int], Row], dict[str, int]]:
        """Return what is in the tables."""
        return deepcopy((self._store.rows, self._store._last))

    def restore(self, saved: tuple[dict[tuple[str, int], Row], dict[str, int]]) -> None:
        """Put back what :meth:`save` returned."""
        self._store.rows, self._store._last = deepcopy(saved)
