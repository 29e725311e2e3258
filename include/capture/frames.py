"""How requests travel from a server to the process that writes them: frames of three parts, their lengths before them.

The first part is JSON, so that what is read is never more than data; bodies travel as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Any, NamedTuple

from include.capture.exchanges import Exchange

_LENGTHS = Struct(">III")


class Frame(NamedTuple):
    """What has travelled.

    :param channel: of which model and settings.
    :param settings: of the channel, which is opened by them.
    :param exchange: a request that is to be written.

    Without either, nothing more comes of this channel.
    """

    channel: int
    settings: dict[str, Any] | None = None
    exchange: Exchange | None = None


def opening(channel: int, settings: Mapping[str, Any]) -> bytes:
    """Return the frame that opens a channel."""
    return _frame([channel, settings])


def carrying(channel: int, exchange: Exchange) -> bytes:
    """Return the frame of a request.

    :raises TypeError: when its inputs are nothing that JSON has.
    :raises ValueError: when they are nested in a circle.
    """
    head = (
        channel, exchange.id, exchange.at, exchange.version, exchange.protocol, exchange.latency_ms, exchange.inputs,
        exchange.folder,
    )  # fmt: skip
    return _frame(head, exchange.request, exchange.answer)


def ending(channel: int) -> bytes:
    """Return the frame after which nothing more comes of a channel."""
    return _frame([channel])


class Frames:
    """Takes a stream apart, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._left = bytearray()

    def of(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole by now.

        :param data: the stream's next bytes.
        """
        self._left += data
        begin = 0
        try:
            while (found := self._parts(begin)) is not None:
                head, request, answer, begin = found
                yield _read(head, request, answer)
        finally:
            del self._left[:begin]

    def _parts(self, begin: int) -> tuple[bytes, bytes, bytes, int] | None:
        """Return the parts of the frame that begins there, and where it ends; ``None`` while it is not whole."""
        if len(self._left) < begin + _LENGTHS.size:
            return None
        head, request, answer = _LENGTHS.unpack_from(self._left, begin)
        first = begin + _LENGTHS.size
        second = first + head
        third = second + request
        end = third + answer
        if len(self._left) < end:
            return None
        view = self._left
        return bytes(view[first:second]), bytes(view[second:third]), bytes(view[third:end]), end


def _frame(head: Any, request: bytes = b"", answer: bytes = b"") -> bytes:
    text = json.dumps(head).encode()  # spelt in ASCII, half a surrogate pair too
    return b"".join((_LENGTHS.pack(len(text), len(request), len(answer)), text, request, answer))


def _read(head: bytes, request: bytes, answer: bytes) -> Frame:
    match json.loads(head):
        case [int(channel), dict(settings)]:
            return Frame(channel, settings=settings)
        case [int(channel)]:
            return Frame(channel)
        case [int(channel), id, at, version, protocol, latency_ms, inputs, folder]:
            exchange = Exchange(id, at, version, protocol, latency_ms, request, answer, inputs, folder)
            return Frame(channel, exchange=exchange)
    raise ValueError("this is no frame of a server")
