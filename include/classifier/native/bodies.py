"""Reads the body of a request, and no more of it than the server takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from include.classifier.native import refusals

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

#: Of one body: TorchServe's ``max_request_size``, so that both servers take the same requests.
MAX_BODY_BYTES = 6_553_500

_REFUSED_TYPES = ("multipart/", "image/", "audio/", "video/")


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse by its headers what is not worth reading.

    :raises Refusal: 415 or 413.
    """
    media_type = headers.get("content-type", "").strip().lower()
    if media_type.startswith(_REFUSED_TYPES) or headers.get("content-encoding", "identity").lower() != "identity":
        raise refusals.wrong_media_type()
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise refusals.body_too_large(MAX_BODY_BYTES)


class Room:
    """How much of all bodies together is kept in memory.

    :param max_bytes: the most.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    @contextmanager
    def taken(self) -> Iterator[Callable[[int], None]]:
        """Yield what takes so many bytes more, and raises 503 where there is no room; give them back at the end."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if size > self._left:
                raise refusals.busy()
            self._left -= size
            mine += size

        try:
            yield take
        finally:
            self._left += mine


async def read_body(receive: Receive, take: Callable[[int], None], *, seconds: float) -> bytes:
    """Return the body of a request.

    :param take: is told of the bytes that come, before they are kept.
    :param seconds: in which it must have come.
    :raises Refusal: 413 or 408.
    :raises ClientGoneError: when the connection ends before the body does.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                take(len(message.get("body", b"")))
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY_BYTES:
                    raise refusals.body_too_large(MAX_BODY_BYTES)
                if not message.get("more_body"):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError:
        raise refusals.body_too_slow(seconds) from None


async def until_gone(receive: Receive) -> None:
    """Return when the client of a request whose body was read has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
