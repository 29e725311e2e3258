"""Where requests are read: a tokenizer belongs to one at a time; nobody waits for a large one but those after it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from include.classifier.native.reader import AT_ONCE_BYTES, Reader

SMALL, LARGE = AT_ONCE_BYTES, AT_ONCE_BYTES + 1


def thread(model: Any) -> Any:
    return threading.current_thread()


async def test_a_small_request_is_read_at_once_and_a_large_one_in_a_thread() -> None:
    reader: Any = Reader()
    assert await reader.read(thread, None, size=SMALL) is threading.current_thread()
    assert await reader.read(thread, None, size=LARGE) is not threading.current_thread()
    assert await reader.read(thread, None, size=SMALL) is threading.current_thread()


async def test_what_comes_while_one_is_read_is_read_after_it_even_if_nobody_waits_for_that_any_more() -> None:
    reader: Any = Reader()
    may_end, done = threading.Event(), []

    def large(model: Any) -> None:
        may_end.wait(60)
        done.append("large")

    asking = asyncio.create_task(reader.read(large, None, size=LARGE))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    small = asyncio.create_task(reader.read(lambda model: done.append("small"), None, size=SMALL))
    await asyncio.sleep(0)
    assert done == []
    may_end.set()
    await small
    assert done == ["large", "small"]
