"""Reads requests: small ones at once, others in a thread beside the event loop, which everybody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from include.classifier.native.model import Reading, ServedModel

#: Makes of a request what a model computes; raises :class:`.refusals.Refusal`.
Read: TypeAlias = Callable[[ServedModel], Reading]

#: A request of up to so many bytes is read sooner than a thread would have begun with it, or little later.
AT_ONCE_BYTES = 2048


class Reader:
    """One at a time, because a tokenizer belongs to one at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._under_way: set[Future[Reading]] = set()

    async def read(self, read: Read, model: ServedModel, *, size: int) -> Reading:
        """Return what a request asks for.

        :param size: of the request, in bytes.
        :raises Refusal: naming what to change.
        """
        if size <= AT_ONCE_BYTES and not self._under_way:
            return read(model)
        reading = self._thread.submit(read, model)
        self._under_way.add(reading)
        # What is cancelled while it is read has the tokenizer until it is done.
        reading.add_done_callback(self._under_way.discard)
        return await asyncio.wrap_future(reading)
