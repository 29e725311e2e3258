"""What a container that runs the processes of versions does for others, over a socket that only they reach.

The folder around the socket keeps everybody else out, as that around TorchServe's does. Whoever comes in holds the lock
of the record, decides, and asks for what only somebody beside the processes can do. What is started is the archive that
lies in this container's own store under the names of an order, if it has the digest that the order says: nothing in an
order names a path, an address or a command.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError
from local_services.kserve_server.runtime.exchange import Receive, RefusedError, Scope, Send, answer, read_body, refuse
from local_services.record import NAME, SHA256, VERSION, StoredVersion, VersionSettings, archive_name, first_problem
from local_services.version_servers.loaded_versions import Store
from local_services.version_servers.processes import Processes

log = logging.getLogger(__name__)

#: The settings of a version are some hundred bytes, a reason some lines of a log.
MOST_ORDER_BYTES = 100_000
MOST_REASON_LETTERS = 10_000

ROUTER = "/router"
_CHANGES = ("start", "stop", "failure")
_QUESTIONS = ("state", "gone")


def management_socket(run_dir: Path) -> Path:
    """Return the socket of orders in a folder of sockets."""
    return run_dir / "management"


class _Settings(VersionSettings):
    predictor: dict[str, Any] = Field(default_factory=dict)


class Order(BaseModel):
    """A version, as the record has it, and why it cannot be started where that is what is said of it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    model: Annotated[str, Field(pattern=NAME)]
    version: Annotated[str, Field(pattern=VERSION)]
    sha256: Annotated[str, Field(pattern=SHA256)]
    settings: _Settings = _Settings()
    reason: Annotated[str, Field(max_length=MOST_REASON_LETTERS)] = ""

    def stored(self) -> StoredVersion:
        """Return the version with the name that it has in a store: of no other place can anything be started."""
        return StoredVersion(
            archive=archive_name(self.model, self.version, ""),
            sha256=self.sha256,
            settings=self.settings.model_dump(exclude_unset=True),
        )


class Management:
    """The ASGI application at the socket.

    :param processes: what it starts and ends.
    :param store: what it starts them from.
    """

    def __init__(self, processes: Processes, store: Store) -> None:
        self._processes = processes
        self._store = store
        # Whoever gave an order may have been killed, and the next one has the record's lock while it is carried out.
        self._changing = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Carry out no more orders; return when the last one is."""
        with self._changing:
            self._is_closed = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            told = await self._do(scope, receive)
        except RefusedError as error:
            await refuse(send, error)
            return
        except InvalidRequestError as error:
            told, status = {"error": str(error)}, 400
        except (KubeflowProviderError, OSError) as error:
            told, status = {"error": str(error)}, 503
        else:
            status = 200
        await answer(send, status, json.dumps(told).encode(), [("content-type", "application/json")])

    async def _do(self, scope: Scope, receive: Receive) -> Mapping[str, Any]:
        path, method = scope["path"], scope["method"]
        if path == ROUTER:
            if method == "GET":
                return {"is_up": await asyncio.to_thread(self._processes.is_router_up)}
            _check_method(method, "GET, POST")
            await asyncio.to_thread(self._start_router)
            return {}
        verb = path.removeprefix("/")
        if verb not in _CHANGES + _QUESTIONS:
            raise RefusedError(404, "There is nothing at this address.")
        _check_method(method, "POST")
        order = _order(await read_body(scope, receive, MOST_ORDER_BYTES))
        return await asyncio.to_thread(self._change if verb in _CHANGES else self._tell, verb, order)

    def _start_router(self) -> None:
        with self._changing:
            self._check_open()
            self._processes.start_router()

    def _change(self, verb: str, order: Order) -> Mapping[str, Any]:
        stored = order.stored()
        with self._changing:
            self._check_open()
            if verb == "start":
                path = self._store.path(order.model, order.version, stored)
                log.info("Starting a server for %s %s.", order.model, order.version)
                self._processes.start_version(order.model, order.version, stored, path)
            elif verb == "stop":
                self._processes.stop_version(order.model, order.version, stored)
            else:
                self._processes.note_failure(order.model, order.version, stored, order.reason)
        return {}

    def _tell(self, verb: str, order: Order) -> Mapping[str, Any]:
        stored = order.stored()
        if verb == "gone":
            return {"is_gone": self._processes.is_gone(order.model, order.version, stored)}
        state, reason = self._processes.state(order.model, order.version, stored) or (None, None)
        return {"state": state, "reason": reason}

    def _check_open(self) -> None:
        if self._is_closed:
            raise RefusedError(503, "This service is being stopped.")


def _check_method(method: str, allowed: str) -> None:
    if method not in allowed.split(", "):
        raise RefusedError(405, "Another method is needed.", allow=allowed)


def _order(body: bytes) -> Order:
    try:
        return Order.model_validate_json(body)
    except ValidationError as error:
        raise RefusedError(400, f"This is no order: {first_problem(error)}.") from None
