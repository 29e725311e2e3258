"""A request and its answer, over ASGI: bodies are bounded, and an error is a short text of our own in JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

#: So long a client may take to send its request.
_BODY_SECONDS = 60.0


class RefusedError(Exception):
    """A request that is answered here.

    :param status: HTTP status.
    :param text: for the client; it repeats nothing of the request.
    :param headers: more of them, as text.
    """

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(status, text)  # with which a copy is made
        self.status = status
        self.text = text
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    :raises RefusedError: 413 above the limit, 408 when it takes too long, 400 when it ends early.
    """
    too_large = RefusedError(413, f"The request is larger than {limit} bytes; send fewer rows at once.")
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "The request ended early.")
                body += message.get("body", b"")
                if len(body) > limit:
                    raise too_large
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise RefusedError(408, f"The request took longer than {_BODY_SECONDS:.0f} seconds to arrive.") from None


def header(scope: Scope, name: bytes) -> str:
    """Return a header of the request; empty where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


async def answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
    """Send an answer in one piece."""
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    encoded.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, error: RefusedError, headers: Iterable[tuple[str, str]] = ()) -> None:
    """Send an error of our own."""
    body = json.dumps({"error": error.text}).encode()
    await answer(send, error.status, body, [("content-type", "application/json"), *headers, *error.headers.items()])


async def run_lifespan(receive: Receive, send: Send) -> None:
    """Answer the server's questions about the application's start and end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
