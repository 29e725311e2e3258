"""What stands between a network and KServe's application, which trusts whoever asks it.

KServe's server lets anybody unload its model, takes a form for a model's input, answers with the text of exceptions,
which repeats what was sent, and says that it is ready whatever its model does. Here only the routes of one model are
let through, with a body that is JSON, and errors get texts of our own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from .exchange import Headers, Receive, RefusedError, Scope, Send, answer, header, read_body, refuse, run_lifespan
from .layout import MOST_BODY_BYTES, VERSION_HEADER

App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

#: Requests that are answered or wait; more are refused, so that a slow model does not hold thousands of bodies.
_MOST_AT_ONCE = 100

_TEXTS = {
    400: "The request does not fit the model: check the number, the shape and the type of the values.",
    422: "The request does not follow the protocol: check its fields and their types.",
    503: "The model is not ready.",
}


class Guard:
    """An ASGI application round KServe's.

    :param app: KServe's.
    :param model: name of the one model.
    :param version: of it, which every answer names.
    :param is_ready: whether the model can answer.
    """

    def __init__(self, app: App, *, model: str, version: str, is_ready: Callable[[], bool]) -> None:
        self._app = app
        self._is_ready = is_ready
        self._at_once = 0
        self._headers = [(VERSION_HEADER, version)]
        one = f"/v2/models/{model}"
        self._asked = {f"/v1/models/{model}", "/v2", "/v2/health/live", one, f"{one}/ready"}
        self._predicting = {f"/v1/models/{model}:predict", f"{one}/infer"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await run_lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            await self._let_through(scope, receive, send)
        except RefusedError as error:
            await refuse(send, error, self._headers)

    async def _let_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/v2/health/ready":
            is_ready = self._is_ready()
            body = json.dumps({"ready": is_ready}).encode()
            await answer(send, 200 if is_ready else 503, body, [("content-type", "application/json"), *self._headers])
        elif path in self._asked:
            if method != "GET":
                raise RefusedError(405, "This address is read with GET.", allow="GET")
            await self._ask(scope, b"", send)
        elif path in self._predicting:
            if method != "POST":
                raise RefusedError(405, "Predictions are asked for with POST.", allow="POST")
            await self._predict(scope, receive, send)
        else:
            raise RefusedError(404, "There is nothing at this address.")

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_media_type(scope)
        if self._at_once >= _MOST_AT_ONCE:
            raise RefusedError(503, "Too many requests wait for the model; try again.", retry_after="1")
        self._at_once += 1
        try:
            body = await read_body(scope, receive, MOST_BODY_BYTES)
            check_json(body)
            await self._ask(scope, body, send)
        finally:
            self._at_once -= 1

    async def _ask(self, scope: Scope, body: bytes, send: Send) -> None:
        """Hand the request on with no header but that of its type, and take the answer in one piece."""
        inner = {**scope, "headers": _headers(body), "query_string": b""}
        pieces: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
        status, sent = 500, bytearray()

        async def receive() -> Any:
            return pieces.pop() if pieces else {"type": "http.disconnect"}

        async def take(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent.extend(message.get("body", b""))

        try:
            await self._app(inner, receive, take)
        except Exception as error:
            # Starlette raises what it has answered with 500. Its text may repeat what was sent.
            log.error("KServe's application failed: %s", type(error).__name__)
        if status >= 400:
            raise RefusedError(_status(status), _TEXTS.get(status, "The model failed on this request."))
        await answer(send, status, bytes(sent), [("content-type", "application/json"), *self._headers])


def check_media_type(scope: Scope) -> None:
    """Let JSON through, with or without its encoding; KServe would hand anything else to the model as bytes.

    :raises RefusedError: 415.
    """
    kind, _, parameters = header(scope, b"content-type").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "') or "utf-8"
    if kind.strip() != "application/json" or charset not in ("utf-8", "utf8"):
        raise RefusedError(415, "Send JSON in UTF-8, with the header `Content-Type: application/json`.")


def check_json(body: bytes) -> None:
    """Make sure that a body is an object in JSON.

    :raises RefusedError: 400, without a word of the body.
    """
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RefusedError(400, "The body is no JSON.") from None
    if not isinstance(document, dict):
        raise RefusedError(400, "The body must be a JSON object.")


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _status(status: int) -> int:
    return 400 if status == 422 else status


def _headers(body: bytes) -> Headers:
    return [
        (b"host", b"model"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
